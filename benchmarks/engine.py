"""The engine beside PyTorch, ONNX Runtime and OpenVINO: time, agreement of pixels, growth with the picture.

    python benchmarks/engine.py [--model FILE …] [--sizes 64x64 320x180] [--threads 2] [--repeats 15] [--cpu-seconds]
    COMPSRT_DATA=… python benchmarks/engine.py --agreement [--model FILE …] [--sets Set5 Set14 B100] [--most 10]
    python benchmarks/engine.py --scaling [--model FILE] [--threads 2]

Without a flag all ways to run the network take turns, and medians and ratios are printed; ONNX Runtime and OpenVINO
where they are installed. `--cpu-seconds` counts the process's processor time instead of the clock's: what a busy
machine adds to the clock is not in it; it is only of use with one thread. `--agreement` compares the engine's pictures
with the simulated network's, and that network's with its own when a second picture is in the batch. Sizes are width x
height of the low-resolution picture.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

import compsrt_plugin
from compsrt_plugin.bundled import WEIGHTS
from compsrt_plugin.engine import Engine
from compsrt_plugin.packed_network import PackedNetwork, open_packed

compsrt_plugin.register()

from basicsr.metrics.psnr_ssim import calculate_psnr  # noqa: E402  (needs the repairs of `register`)

from compsrt_plugin.inference import super_resolve  # noqa: E402
from compsrt_plugin.models.judge import to_image  # noqa: E402
from compsrt_plugin.profiling.runtimes import RUNTIMES, models_of, not_installed, runtime_way  # noqa: E402
from compsrt_plugin.profiling.ways import full_precision  # noqa: E402

SCALING = ((64, 64), (128, 128), (320, 180), (480, 270), (640, 360), (1280, 720), (1920, 1080))


def noise(width: int, height: int, window: int) -> Tensor:
    """Return a picture (1, 3, h, w) of at least this size, in whole windows."""
    sides = (-(-side // window) * window for side in (height, width))
    return torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0))


def clock_of(arguments: argparse.Namespace) -> Callable[[], float]:
    """Return what tells the time."""
    return time.process_time if arguments.cpu_seconds else time.perf_counter


def timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return how long a call takes."""
    began = clock()
    call()
    return clock() - began


def compare_times(arguments: argparse.Namespace) -> None:
    """Print the median of every way and its ratio to the engine, for each file and size."""
    torch.set_num_threads(arguments.threads)
    for path in arguments.model:
        source = open_packed(path)
        eager = full_precision(source)
        models = models_of(eager)
        for width, height in arguments.sizes:
            x = noise(width, height, 8)
            calls: dict[str, Callable[[], object]] = {
                "PyTorch eager fp32": lambda x=x, eager=eager: eager(x),
                "simulated": lambda x=x, source=source: source.network(x),
            }
            for name in RUNTIMES:
                if not_installed(name) is None:
                    way = runtime_way(name, models)
                    calls[way.label] = way.ready(x, arguments.threads)
            for threads in sorted({1, arguments.threads}):
                engine = Engine(source, threads=threads)
                calls[f"engine, {threads} threads"] = lambda x=x, engine=engine: engine(x)
            ours = list(calls)[-1]
            times: dict[str, list[float]] = {name: [] for name in calls}
            with torch.no_grad():
                for turn in range(arguments.repeats + 1):
                    for name, call in calls.items():
                        spent = timed(call, clock_of(arguments))
                        if turn:  # the first warms up
                            times[name].append(spent)
            print(f"{path.stem}, {width}x{height}, {arguments.threads} threads, median of {arguments.repeats}")
            for name, found in times.items():
                ratio = statistics.median(a / b for a, b in zip(found, times[ours]))
                middle, least = statistics.median(found) * 1e3, min(found) * 1e3
                print(f"  {name:<22}{middle:>9.1f} ms   least {least:>8.1f} ms   {ratio:>6.2f} of the engine")


def read(path: Path) -> Tensor:
    """Return a picture as (1, 3, h, w) in 0..1, RGB."""
    picture = cv2.imread(str(path))[..., ::-1].transpose(2, 0, 1)
    return torch.from_numpy(picture.copy()).unsqueeze(0).float() / 255


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, int]:
    """Return the share of equal numbers and the most grey levels between two uint8 pictures."""
    apart = np.abs(ours.astype(int) - theirs.astype(int))
    return float((apart == 0).mean()), int(apart.max())


def compare_pixels(arguments: argparse.Namespace) -> None:
    """Print for each file and data set how far the engine and a second run are from the simulated network."""
    root = Path(os.environ["COMPSRT_DATA"]).expanduser()
    print("file, set: engine against simulated (identical, most levels, PSNR difference); simulated against itself")
    for path in arguments.model:
        source = open_packed(path)
        engine, scale = Engine(source, threads=arguments.threads), source.header.scale
        for name in arguments.sets:
            rows = []
            for hr in sorted((root / name / "HR").iterdir())[: arguments.most]:
                lr = read(root / name / "LR_bicubic" / f"X{scale}" / f"{hr.stem}x{scale}{hr.suffix}")
                rows.append(judged(source, engine, lr, to_image(read(hr)), scale))
            ours, ours_most, psnr, self_share, self_most, self_psnr = (list(column) for column in zip(*rows))
            print(
                f"{path.stem}, {name}, {len(rows)} pictures: {statistics.mean(ours):.4%}, {max(ours_most)}, "
                f"{statistics.mean(psnr):+.4f} dB; {statistics.mean(self_share):.4%}, {max(self_most)}, "
                f"{statistics.mean(self_psnr):+.4f} dB",
                flush=True,
            )


def judged(
    source: PackedNetwork, engine: Engine, lr: Tensor, hr: np.ndarray, scale: int
) -> tuple[float, int, float, float, int, float]:
    """Return (share, levels, PSNR difference) of the engine, and of the simulated network in a batch of two."""

    def in_batch(x: Tensor) -> Tensor:
        return source.network(torch.cat([x, x.flip(-1)]))[:1]

    with torch.no_grad():
        pictures = [
            to_image(super_resolve(way, lr, scale=scale, window=engine.window_size))
            for way in (source.network, engine, in_batch)
        ]
    hr = hr[: pictures[0].shape[0], : pictures[0].shape[1]]
    first, *others = (calculate_psnr(picture, hr, crop_border=scale, test_y_channel=True) for picture in pictures)
    (share, most), (self_share, self_most) = (difference(picture, pictures[0]) for picture in pictures[1:])
    return share, most, others[0] - first, self_share, self_most, others[1] - first


def scaling(arguments: argparse.Namespace) -> None:
    """Print time and memory of the engine from 64 x 64 to 1080p pictures, and the exponent of time in pixels."""
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


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="+", default=sorted(WEIGHTS.glob("compsrt_x4_*.safetensors")))
    parser.add_argument("--sizes", type=size, nargs="+", default=[(64, 64), (320, 180)])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--cpu-seconds", action="store_true")
    parser.add_argument("--agreement", action="store_true")
    parser.add_argument("--sets", nargs="+", default=["Set5", "Set14", "B100"])
    parser.add_argument("--most", type=int, help="pictures of each set")
    parser.add_argument("--scaling", action="store_true")
    arguments = parser.parse_args()
    (compare_pixels if arguments.agreement else scaling if arguments.scaling else compare_times)(arguments)


if __name__ == "__main__":
    main()
