"""Compare the loss of packed networks on large images with that on the pieces of these images.

    python benchmarks/image_sizes.py FILE… --photos DIR [--teacher FILE] [--results benchmarks/results/image_sizes]

DIR is a folder of HR images; the held-out tenth of it is used (`subset: holdout`). Two large images are put together
from six of its landscape images each, three rows of two. A network sees each of them whole, then piece by piece. What
it loses to full precision is measured at both sizes. A loss that grows with the size is a fault that small patches
cannot show: in attention between channels, sums run over all pixels (docs/notes/networks.md).

PSNR as in `recipes.py`: Y, border = scale. The engine runs the networks, PyTorch full precision. Writes a result file
per network, which `make results` reads.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipes import build_dataset, network_of, runner_name, runner_of, score, teacher_of, to_image, upscale
from results_tables import size_table

from compsrt_plugin.data.resize import downscale
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed.bundled import teacher_path
from compsrt_plugin.report import FileRecord
from compsrt_plugin.report.versions import versions

ROWS, COLUMNS = 3, 2
LARGE = 2  # large images
MULTIPLE = 24  # sides of a piece are multiples of it, so of 2, 3 and 4


@cache
def large_images(photos: Path) -> list[np.ndarray]:
    """Return `LARGE` images (ROWS h, COLUMNS w, 3), uint8, BGR, of held-out landscape photographs.

    Raises:
        CompSRTError: the folder has too few of them.
    """
    options = {"name": "Photos", "type": "CompSRTPairedDataset", "phase": "test", "scale": 1, "subset": "holdout"}
    images = build_dataset({**options, "dataroot_gt": str(photos), "io_backend": {"type": "disk"}})
    found = [to_image(images[index]["gt"][None]) for index in range(len(images))]
    needed = LARGE * ROWS * COLUMNS
    landscape = [image for image in found if image.shape[1] > image.shape[0]][:needed]
    if len(landscape) < needed:
        raise CompSRTError(f"{photos}: {len(landscape)} held-out landscape images", allowed=f"at least {needed}")
    height, width = (min(image.shape[axis] for image in landscape) // MULTIPLE * MULTIPLE for axis in (0, 1))
    cut = np.stack([image[:height, :width] for image in landscape])
    grid = cut.reshape(LARGE, ROWS, COLUMNS, height, width, 3).transpose(0, 1, 3, 2, 4, 5)
    return list(grid.reshape(LARGE, ROWS * height, COLUMNS * width, 3))


def by_size(network: Callable[[torch.Tensor], torch.Tensor], window: Any, hr: np.ndarray, scale: int) -> list[float]:
    """Return the PSNR in dB of a network on a large image (H, W, 3), uint8, BGR, seen whole and seen in pieces."""
    lq = torch.from_numpy(downscale(hr, scale)[..., ::-1].transpose(2, 0, 1).astype(np.float32) / 255)[None]
    height, width = lq.shape[2] // ROWS, lq.shape[3] // COLUMNS
    pieces = np.zeros_like(hr)
    for top in range(0, lq.shape[2], height):
        for left in range(0, lq.shape[3], width):
            piece = upscale(network, window, lq[:, :, top : top + height, left : left + width], scale)
            pieces[top * scale :, left * scale :][: height * scale, : width * scale] = piece
    return [score(image, hr, scale).psnr for image in (upscale(network, window, lq, scale), pieces)]


def on_all(network: Callable[[torch.Tensor], torch.Tensor], file: Path, photos: Path) -> list[list[float]]:
    """Return `by_size` of a network for each large image; the packed file gives scale and window."""
    source = network_of(file)
    window, scale = source.network.window_size, source.header.scale
    return [by_size(network, window, hr, scale) for hr in large_images(photos)]


def measure(file: Path, teacher: Path, photos: Path, full: list[list[float]]) -> dict[str, Any]:
    """Return the PSNR of a packed network and of full precision, whole and in pieces, as JSON holds it.

    Args:
        file: packed network.
        teacher: its full-precision weights.
        photos: folder of HR images.
        full: `on_all` of full precision.
    """
    source = network_of(file)
    quantized = on_all(runner_of(file, engine=True), file, photos)
    words = ["python", "benchmarks/image_sizes.py", file.name, "--teacher", teacher.name, "--photos", photos.name]
    return {
        "name": file.stem,
        "scale": source.header.scale,
        "bits": source.header.bits,
        "sha256": FileRecord.of(file).sha256,
        "command": shlex.join(words),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": versions(),
        "runner": runner_name(source.network, engine=True),
        "size": list(large_images(photos)[0].shape[:2]),
        "pieces": ROWS * COLUMNS,
        "psnr": [
            {"whole": {"teacher": a[0], "quantized": b[0]}, "pieces": {"teacher": a[1], "quantized": b[1]}}
            for a, b in zip(full, quantized)
        ],
    }


def main() -> None:
    """Measure each file and write NAME.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR")
    parser.add_argument("--teacher", type=Path, help="full-precision weights; without it, the bundled ones")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "image_sizes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    full: dict[Path, list[list[float]]] = {}
    for file in args.files:
        teacher = args.teacher or teacher_path(network_of(file).header.scale)
        if teacher not in full:
            full[teacher] = on_all(teacher_of(teacher, file), file, args.photos)
        found = measure(file, teacher, args.photos, full[teacher])
        write_whole(args.results / f"{found['name']}.json", json.dumps(found, indent=1).encode() + b"\n")
        print(size_table([found])[-1], flush=True)


if __name__ == "__main__":
    main()
