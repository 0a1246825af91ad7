"""Compare the engine with PyTorch, ONNX Runtime and OpenVINO: time, PSNR, agreement of pixels, memory, growth.

    python benchmarks/engine.py [--model FILE …] [--sizes 64x64 320x184] [--threads 2] [--repeats 15] [--cpu-seconds]
                                [--calibration FOLDER] [--patches 64] [--sets Set5] [--avx2]
    python benchmarks/engine.py --agreement [--model FILE …] [--sets Set5 B100] [--pictures 10] [--threads 2]
    python benchmarks/engine.py --memory [--model FILE …] [--sizes 64x64 320x184] [--tiled 1280x720] [--tile 256]
    python benchmarks/engine.py --scaling [--model FILE] [--threads 2]

Without a flag all ways to run SwinIR-light take turns. Medians and ratios are printed, and the PSNR of whole images
where `COMPSRT_DATA` is set. ONNX Runtime and OpenVINO are included where they are installed, and OpenVINO at 8 bits
(by NNCF's post-training quantization) where training images are given to calibrate it. `--cpu-seconds` counts
processor time instead of clock time, which excludes what a busy machine adds; use it with one thread. `--avx2` limits
all of them to AVX2. `--agreement` compares the engine's output with the simulated network's, and that network with
itself. `--memory` measures peaks, each in a process of its own. Sizes are width x height of the low-resolution image.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import without_avx512
from torch import Tensor

import compsrt_plugin
from compsrt_plugin.engine import Engine
from compsrt_plugin.packed.bundled import WEIGHTS
from compsrt_plugin.packed.open import open_packed

compsrt_plugin.register()

import engine_agreement  # noqa: E402  (these need the repairs of `register`)
import engine_memory  # noqa: E402
from engine_ways import Way, full_precision_ways, quantized_ways  # noqa: E402
from judged_images import DATA, Pair, mean_psnr, pairs  # noqa: E402

SCALING = ((64, 64), (128, 128), (320, 180), (480, 270), (640, 360), (1280, 720), (1920, 1080))


def noise(width: int, height: int, window: int) -> Tensor:
    """Return an image (1, 3, h, w) of at least this size, in whole windows."""
    sides = (-(-side // window) * window for side in (height, width))
    return torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0))


def clock_of(arguments: argparse.Namespace) -> Callable[[], float]:
    """Return the clock."""
    return time.process_time if arguments.cpu_seconds else time.perf_counter


def timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the seconds of a call."""
    began = clock()
    call()
    return clock() - began


def compare_times(arguments: argparse.Namespace) -> None:
    """Print each way's median, its ratio to the engine, and its PSNR, for each file and size."""
    torch.set_num_threads(arguments.threads)
    others: dict[int, tuple[list[Way], dict[str, list[float]]]] = {}  # by scale, the same for every file
    judged = DATA in os.environ
    print(f"PSNR in dB: {', '.join(arguments.sets)}" if judged else f"no PSNR: {DATA} is not set")
    for path in arguments.model:
        source = open_packed(path)
        scale = source.header.scale
        sets = [pairs(name, scale, arguments.pictures) for name in arguments.sets] if judged else []
        if scale not in others:
            ways = full_precision_ways(source, arguments.threads, arguments.calibration, arguments.patches)
            others[scale] = ways, scores(ways, sets, scale)
        ours = quantized_ways(source, arguments.threads)
        ways, found = [*others[scale][0], *ours], {**others[scale][1], **scores(ours, sets, scale)}
        for width, height in arguments.sizes:
            x = noise(width, height, 8)
            times = in_turns({way.label: way.ready(x) for way in ways}, arguments)
            print(f"{path.stem}, {width}x{height}, {arguments.threads} threads, median of {arguments.repeats}")
            for way in ways:
                spent = times[way.label]
                ratio = statistics.median(a / b for a, b in zip(spent, times[ours[-1].label]))
                middle, least = statistics.median(spent) * 1e3, min(spent) * 1e3
                decibels = "".join(f"{value:>9.3f}" for value in found[way.label])
                print(
                    f"  {way.label:<27}{middle:>9.1f} ms   least {least:>8.1f} ms   {ratio:>6.2f} of the engine"
                    f"{decibels}",
                    flush=True,
                )


def scores(ways: list[Way], sets: list[list[Pair]], scale: int) -> dict[str, list[float]]:
    """Return each way's mean PSNR over each set, by label."""
    return {
        way.label: [mean_psnr(way.network, judged, scale) for judged in sets] if way.network else [] for way in ways
    }


def in_turns(calls: dict[str, Callable[[], object]], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Return the times of every call in each round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for turn in range(arguments.repeats + 1):
            for name, call in calls.items():
                spent = timed(call, clock_of(arguments))
                if turn:
                    times[name].append(spent)
    return times


def scaling(arguments: argparse.Namespace) -> None:
    """Print time and memory of the engine from 64 x 64 to 1080p images, and the exponent of time in pixels."""
    engine = Engine(open_packed(arguments.model[0]), threads=arguments.threads)
    points = []
    for width, height in SCALING:
        x = noise(width, height, engine.window_size)
        repeats = max(3, min(arguments.repeats, 4_000_000 // x.numel()))
        engine(x)
        least = min(timed(lambda x=x: engine(x), clock_of(arguments)) for _ in range(repeats))
        pixels = x.shape[2] * x.shape[3]
        points.append((pixels, least))
        print(f"{width:>5} x {height:<5}{least * 1e3:>10.1f} ms{pixels / least / 1e6:>8.3f} megapixels/s", flush=True)
    exponent = np.polyfit(*np.log(np.array(points)).T, 1)[0]
    print(f"time grows with pixels to the power of {exponent:.3f}; least of several runs, {arguments.threads} threads")


def size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT."""
    width, height = text.split("x")
    return int(width), int(height)


def parsed() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="+", default=sorted(WEIGHTS.glob("compsrt_x4_*.safetensors")))
    parser.add_argument("--sizes", type=size, nargs="+", default=[(64, 64), (320, 184)])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--cpu-seconds", action="store_true")
    parser.add_argument("--calibration", type=Path, help="folder of training images for OpenVINO at 8 bits")
    parser.add_argument("--patches", type=int, default=64, help="number of 64 x 64 patches to calibrate it on")
    parser.add_argument("--sets", nargs="+", default=["Set5"], help="test sets under COMPSRT_DATA")
    parser.add_argument("--pictures", type=int, help="most images of each set")
    parser.add_argument("--avx2", action="store_true")
    parser.add_argument("--tiled", type=size, nargs="*", default=[(1280, 720)])
    parser.add_argument("--tile", type=int, default=256)
    modes = parser.add_mutually_exclusive_group()
    for mode in ("agreement", "memory", "scaling"):
        modes.add_argument(f"--{mode}", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Run the requested measurement."""
    arguments = parsed()
    if arguments.avx2:
        without_avx512.start_again()
        print(without_avx512.evidence())
    if arguments.agreement:
        engine_agreement.compare(arguments.model, arguments.sets, arguments.pictures, arguments.threads)
    elif arguments.memory:
        for path in arguments.model:
            engine_memory.compare(path, arguments.sizes, arguments.tiled, arguments.tile, arguments.threads)
    else:
        (scaling if arguments.scaling else compare_times)(arguments)


if __name__ == "__main__":
    main()
