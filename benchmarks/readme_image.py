"""Draw README's image: one photograph by bicubic, by DAT-light, and by two bundled networks, with bytes and time.

    python benchmarks/readme_image.py --teacher DAT_light_x4.pth [--image astronaut] [--crop X Y SIDE]

Times are those of `benchmarks/results/latency`, so `latency.py` comes first. PSNR is that of the photograph, by
BasicSR's metric.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from recipes import EMBEDDED, data_set, network_of, runner_of, score, teacher_of, to_image, upscale

from compsrt_plugin.data.resize import imresize
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed.bundled import local_path
from compsrt_plugin.report.comparison_image import CaptionedImage, draw_comparison
from compsrt_plugin.report.crop import Crop
from compsrt_plugin.report.drawing import png_bytes

ROOT = Path(__file__).resolve().parents[1]
LATENCY = ROOT / "benchmarks" / "results" / "latency"
SCALE = 4
NETWORKS = {"dat_light_x4_4bit": "DAT-light, 4-bit", "compsrt_x4_3bit": "SwinIR-light, 3-bit"}


def milliseconds(name: str, way: str) -> str:
    """Return the measured time of a network, such as `230 ms`.

    Args:
        name: of a bundled network.
        way: beginning of the name of how it runs, as `latency.py` writes it.
    """
    found: dict[str, Any] = json.loads((LATENCY / f"{name}.json").read_text(encoding="utf-8"))["processor_ms"]
    return f"{next(value for key, value in found.items() if key.startswith(way)):.0f} ms"


def panels(image: str, teacher: Path) -> list[CaptionedImage]:
    """Return bicubic, full precision, the quantized networks and the original of a demo photograph."""
    pair = next(found for found in data_set(EMBEDDED, SCALE) if Path(found["gt_path"]).stem == image)
    low, original = pair["lq"][None], to_image(pair["gt"][None])

    def captioned(name: str, made: np.ndarray, *details: str) -> CaptionedImage:
        return CaptionedImage(name, made, ", ".join([f"{score(made, original, SCALE).psnr:.2f} dB", *details]))

    first = next(iter(NETWORKS))
    full = teacher_of(teacher, local_path(first))
    size = sum(parameter.numel() for parameter in full.parameters()) * 4
    made = upscale(full, full.window_size, low, SCALE)
    found = [
        captioned("Bicubic", imresize(to_image(low), SCALE)),
        captioned("DAT-light, 32-bit", made, f"{size / 1e6:.2f} MB", milliseconds(first, "PyTorch")),
    ]
    for name, title in NETWORKS.items():
        file = local_path(name)
        window = network_of(file).network.window_size
        made = upscale(runner_of(file, engine=True), window, low, SCALE)
        found.append(captioned(title, made, f"{file.stat().st_size / 1e3:.0f} kB", milliseconds(name, "engine")))
    return [*found, CaptionedImage("Original", original)]


def main() -> None:
    """Draw and write `docs/images/readme.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, metavar="FILE")
    parser.add_argument("--image", default="astronaut")
    parser.add_argument("--crop", type=int, nargs=3, metavar=("X", "Y", "SIDE"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "readme.png")
    args = parser.parse_args()
    crop = None if args.crop is None else Crop(args.crop[0], args.crop[1], args.crop[2], args.crop[2])
    title = f"{args.image.capitalize()}, enlarged {SCALE} times"
    write_whole(args.out, png_bytes(draw_comparison(panels(args.image, args.teacher), crop, title)))


if __name__ == "__main__":
    main()
