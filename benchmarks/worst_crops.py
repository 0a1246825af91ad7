"""Draw, for each bundled x4 network, the crops in which it differs most from full precision.

    python benchmarks/worst_crops.py [--out docs/images] [--bits 2 3 4]

Writes `worst_x4_{2,3,4}bit.png`, with one row for each of the four demo photographs, the worst first: original, full
precision, and the quantized network as the engine computes it. `differing_crop` finds the regions. Benchmark images are
omitted because their licences do not allow copies here.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from recipes import EMBEDDED, data_set, network_of, runner_of, teacher_of, to_image, upscale

from compsrt_plugin.files import write_whole
from compsrt_plugin.packed.bundled import checkpoint_path, teacher_path
from compsrt_plugin.report.crop import Crop, Pixels, differing_crop
from compsrt_plugin.report.drawing import draw_line, line_height

SCALE = 4
SIDE, ZOOM = 64, 4  # pixels of a crop, and its enlargement without smoothing
MARGIN, GAP, HEADING, CAPTION = 24, 16, 24, 20
PAPER, INK, MUTED = "#FAFAF7", "#1D1F23", "#5C6068"


@dataclass(frozen=True)
class Row:
    """One photograph's worst crop.

    Attributes:
        name: of the photograph.
        crops: original, full precision, quantized; (SIDE, SIDE, 3), uint8, BGR.
    """

    name: str
    crops: tuple[Pixels, Pixels, Pixels]

    def psnr(self, column: int) -> float:
        """Return a column's PSNR to the original within the crop, all three channels, in dB."""
        error = self.crops[column].astype(float) - self.crops[0].astype(float)
        return float(10 * np.log10(255**2 / np.mean(error**2)))

    @property
    def difference(self) -> float:
        """Mean squared difference of quantized and full precision, by which rows are sorted."""
        return float(np.mean((self.crops[2].astype(float) - self.crops[1].astype(float)) ** 2))


def rows_of(file: Path) -> list[Row]:
    """Return a packed network's worst crop of each photograph, the worst first."""
    teacher, runner = teacher_of(teacher_path(SCALE), file), runner_of(file, engine=True)
    window = network_of(file).network.window_size
    rows = []
    for pair in data_set(EMBEDDED, SCALE):
        lq, original = pair["lq"][None], to_image(pair["gt"][None])
        full, quantized = (upscale(network, window, lq, SCALE) for network in (teacher, runner))
        box: Crop = differing_crop([full, quantized], SIDE)
        rows.append(Row(Path(pair["gt_path"]).stem, (box.of(original), box.of(full), box.of(quantized))))
    return sorted(rows, key=lambda row: -row.difference)


def sheet(rows: list[Row], bits: int) -> Image.Image:
    """Draw the rows, captioned with each crop's PSNR to the original."""
    cell, caption = SIDE * ZOOM, line_height(CAPTION) + 8
    width = 2 * MARGIN + 3 * cell + 2 * GAP
    top = MARGIN + line_height(HEADING) + 8
    image = Image.new("RGB", (width, top + len(rows) * (cell + caption + GAP) + MARGIN - GAP), PAPER)
    draw = ImageDraw.Draw(image)
    for column, title in enumerate(("Original", "Full precision", f"{bits} bits")):
        draw_line(draw, (MARGIN + column * (cell + GAP), MARGIN - 4), title, HEADING, INK, cell)
    for index, row in enumerate(rows):
        for column, crop in enumerate(row.crops):
            place = (MARGIN + column * (cell + GAP), top + index * (cell + caption + GAP))
            enlarged = Image.fromarray(np.ascontiguousarray(crop[..., ::-1]))
            image.paste(enlarged.resize((cell, cell), Image.Resampling.NEAREST), place)
            told = row.name.capitalize() if column == 0 else f"{row.psnr(column):.2f} dB"
            draw_line(draw, (place[0], place[1] + cell + 2), told, CAPTION, MUTED, cell)
    return image


def main() -> None:
    """Draw one sheet per width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    parser.add_argument("--bits", type=int, nargs="+", default=[2, 3, 4])
    args = parser.parse_args()
    for bits in args.bits:
        stream = io.BytesIO()
        sheet(rows_of(checkpoint_path(SCALE, bits)), bits).save(stream, "PNG", optimize=True)
        write_whole(args.out / f"worst_x{SCALE}_{bits}bit.png", stream.getvalue())


if __name__ == "__main__":
    main()
