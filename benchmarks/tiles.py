"""Measure large images in tiles: the difference that an overlap leaves, memory and time.

    python benchmarks/tiles.py differences [--overlaps 0 8 16 24 32]
    python benchmarks/tiles.py growth [--sizes 240x135 480x270 960x540 1920x1080]

SwinIR-light x4, full precision and the bundled 3-bit file. Images are the embedded calibration photographs, mirrored to
the requested size. `growth` runs every image in a process of its own, whose peak memory includes Python, torch, the
network, one tile's forward pass and the output image.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor, nn

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.data import embedded_pairs
from compsrt_plugin.data.images import images_in, read_image
from compsrt_plugin.inference import Tile, mirrored_indices, super_resolve
from compsrt_plugin.models.input_files import read_packed_for_test
from compsrt_plugin.packed import load_weights
from compsrt_plugin.packed.bundled import checkpoint_path, teacher_path
from compsrt_plugin.packed.network_state import load_packed_state

SCALE, WINDOW = 4, 8
NEAR = 4  # low-resolution pixels on each side of a cut that count as near it
SIDE = 128  # height and width of the image of `differences`


def main() -> None:
    """Print one of the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    differing = commands.add_parser("differences")
    overlaps = {"nargs": "+", "default": [0, 8, 16, 24, 32]}
    differing.add_argument("--overlaps", type=int, help="multiples of the window, 8", **overlaps)
    growing = commands.add_parser("growth")
    growing.add_argument("--sizes", nargs="+", default=["240x135", "480x270", "960x540", "1920x1080"])
    growing.add_argument("--tile", type=int, nargs=2, default=[160, 16], metavar=("SIZE", "OVERLAP"))
    growing.add_argument("--float", action="store_true", help="the full-precision network")
    growing.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.command == "differences":
        differences(args.overlaps)
    elif args.child:
        run(args.sizes[0], Tile(*args.tile), network(quantized=not args.float))
    else:
        growth(args.sizes, sys.argv[2:])


def network(quantized: bool) -> nn.Module:
    """Load the bundled teacher or the bundled 3-bit file."""
    if not quantized:
        teacher = CompSRTSwinIR(upscale=SCALE).eval()
        teacher.load_state_dict(load_weights(teacher_path(SCALE)))
        return teacher
    path = str(checkpoint_path(SCALE, 3))
    packed, header = read_packed_for_test(path, SCALE, 3)
    arguments = {key: value for key, value in header.arch.items() if key != "type"}
    student = CompSRTSwinIR(**arguments, quant=header.spec).eval()
    load_packed_state(student, packed, path)
    return student


def image(height: int, width: int) -> Tensor:
    """Return (1, 3, height, width), uint8: the first calibration photograph, mirrored as often as needed."""
    hr_dir, _ = embedded_pairs("calibration", SCALE)
    photograph = torch.from_numpy(read_image(images_in(hr_dir)[0])[..., ::-1].copy()).permute(2, 0, 1)[None]
    rows, columns = (mirrored_indices(size, to, False) for size, to in zip(photograph.shape[2:], (height, width)))
    return photograph.index_select(2, rows).index_select(3, columns)


def differences(overlaps: list[int]) -> None:
    """Print the difference of tiled and whole outputs, in grey levels of 255."""
    lq = image(SIDE, SIDE)
    print(f"{SIDE}×{SIDE} pixels in four tiles; differences in grey levels of 255, then after rounding to 8 bits")
    print("   network  overlap  largest      mean   at cuts  rounded       differ")
    cuts = torch.zeros(SIDE * SCALE, SIDE * SCALE, dtype=torch.bool)
    for lines in (cuts, cuts.T):
        lines[SCALE * (SIDE // 2 - NEAR) : SCALE * (SIDE // 2 + NEAR)] = True
    for name, quantized in (("float", False), ("3-bit", True)):
        model = network(quantized)
        whole = super_resolve(model, lq, scale=SCALE, window=WINDOW, tile=Tile(SIDE, 0))
        for overlap in overlaps:
            # four tiles that share exactly 2 * overlap pixels: the cuts are in the middle
            tile = Tile(SIDE // 2 + overlap, overlap)
            tiled = super_resolve(model, lq, scale=SCALE, window=WINDOW, tile=tile)
            apart = 255 * (tiled - whole).abs()
            levels = [(255 * output.clamp(0, 1)).round() for output in (tiled, whole)]
            steps = (levels[0] - levels[1]).abs().amax(1)
            print(
                f"{name:>10s}{overlap:9d}{apart.max():9.3f}{apart.mean():10.5f}{apart[..., cuts].mean():10.5f}"
                f"{int(steps.max()):9d}{100 * (steps > 0).float().mean():11.3f} %",
                flush=True,
            )


def growth(sizes: list[str], flags: list[str]) -> None:
    """Print time and peak memory of images of several sizes; CPU seconds exclude other programs."""
    print(f"{'pixels':>12s}{'seconds':>10s}{'CPU s':>10s}{'CPU s per Mpixel':>18s}{'peak MiB':>10s}")
    others = [flag for flag in flags if flag not in (*sizes, "--sizes")]
    for size in sizes:
        child = [sys.executable, __file__, "growth", *others, "--sizes", size, "--child"]
        told = json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        rate = told["cpu"] / told["pixels"] * 1e6
        print(f"{size:>12s}{told['seconds']:10.1f}{told['cpu']:10.1f}{rate:18.0f}{told['peak']:10.0f}", flush=True)


def run(size: str, tile: Tile, model: nn.Module) -> None:
    """Super-resolve one image and print its cost, for the parent process."""
    width, height = (int(part) for part in size.split("x"))
    lq = image(height, width)
    start, began = time.perf_counter(), time.process_time()
    output = super_resolve(model, lq, scale=SCALE, window=WINDOW, tile=tile)
    seconds, cpu = time.perf_counter() - start, time.process_time() - began
    assert output.shape[2:] == (SCALE * height, SCALE * width)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"pixels": width * height, "seconds": seconds, "cpu": cpu, "peak": peak}))


if __name__ == "__main__":
    main()
