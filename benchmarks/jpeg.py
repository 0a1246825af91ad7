"""What compression does to super-resolution: PSNR of a bundled network on JPEGs of low-resolution images.

python benchmarks/jpeg.py            # measures, and writes benchmarks/jpeg_results.json and docs/real_photographs.md
python benchmarks/jpeg.py --table    # writes the page only

The images are the four embedded ones of the demo, shrunk by MATLAB's bicubic and compressed by Pillow.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

import compsrt_plugin as csr
from compsrt_plugin.files import write_whole

csr.register()

from basicsr.metrics import calculate_psnr  # noqa: E402
from sensitivity import page_with  # noqa: E402

from compsrt_plugin.data.embedded import embedded_pairs  # noqa: E402

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "jpeg_results.json", HERE.parent / "docs" / "real_photographs.md"
BEGIN = "<!-- benchmarks/jpeg.py -->\n"
NETWORK, SCALE = "compsrt_x4_4bit", 4
QUALITIES = (None, 95, 85, 75, 50)  # None: not compressed


def measure() -> dict[str, dict[str, float]]:
    """Return quality -> PSNR in dB (Y channel, border = scale), mean over the images, of bicubic and network."""
    network = csr.load(NETWORK)
    originals, small = embedded_pairs("demo", SCALE)
    found = {}
    for quality in QUALITIES:
        scores: dict[str, list[float]] = {"bicubic": [], "network": []}
        for path in sorted(originals.iterdir()):
            wanted = np.asarray(Image.open(path).convert("RGB"))
            given = compressed(Image.open(small / f"{path.stem}x{SCALE}.png").convert("RGB"), quality)
            size = (given.width * SCALE, given.height * SCALE)
            for name, made in (
                ("bicubic", given.resize(size, Image.Resampling.BICUBIC)),
                ("network", network.upscale(given)),
            ):
                pair = (wanted[..., ::-1], np.asarray(made)[..., ::-1])  # BasicSR's metrics take BGR
                scores[name].append(calculate_psnr(*pair, crop_border=SCALE, test_y_channel=True))
        found[str(quality or "not compressed")] = {
            name: round(float(np.mean(all_)), 3) for name, all_ in scores.items()
        }
    return found


def compressed(image: Image.Image, quality: int | None) -> Image.Image:
    """Return the image as a JPEG of this quality shows it; None: as it is."""
    if quality is None:
        return image
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return the rows of the page."""
    lines = ["| JPEG quality of the small image | bicubic | network | gain |", "| --- | ---: | ---: | ---: |"]
    for quality, psnr in found.items():
        bicubic, network = psnr["bicubic"], psnr["network"]
        lines.append(f"| {quality} | {bicubic:.2f} | {network:.2f} | {network - bicubic:+.2f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure unless told otherwise, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="write the page from the result file")
    if not parser.parse_args().table:
        write_whole(RESULTS, (json.dumps(measure(), indent=2) + "\n").encode())
    page = page_with(PAGE.read_text(encoding="utf-8"), table(json.loads(RESULTS.read_text())), BEGIN)
    write_whole(PAGE, page.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
