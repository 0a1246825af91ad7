"""The GPU engine beside PyTorch on one NVIDIA GPU: agreement, the best launch of each kernel, time, floors.

    python benchmarks/gpu_engine.py [--seconds 110] [--pictures FOLDER] [--no-compile] [--workers 8]

One run tells all, and each line is printed as soon as it is known. Ways are timed in turns, with CUDA events. First
the engine's pictures are compared with the simulated network's: on smooth noise, and on the pictures of a folder (the
middle 256 × 256 pixels, made smaller by bicubic), with the PSNR of both to the original. What does not fit into
`--seconds` is left out and named. `torch.compile` runs in a process of its own, which may take too long.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from gpu_programs import BASE, KINDS, Candidate, programs, sweep
from gpu_ways import SCALE, attempt, network_for, say, smooth, time_ways, ways_of
from torch import Tensor

from compsrt_plugin.bundled import checkpoint_path
from compsrt_plugin.data.resize import downscale
from compsrt_plugin.engine_gpu import GpuEngine
from compsrt_plugin.packed_network import open_packed

BITS = (4, 3, 2)
SIZES = {"64x64": (1, 64, 64), "320x184": (1, 184, 320), "16 of 64x64": (16, 64, 64)}  # width x height: (b, h, w)


class Clock:
    """The seconds that are left."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Return how many."""
        return self.end - time.monotonic()


def pictures(folder: Path | None, most: int) -> list[tuple[Tensor, Tensor | None]]:
    """Return low-resolution pictures (1, 3, h, w) with their originals, or None, both in 0..1."""
    found: list[tuple[Tensor, Tensor | None]] = [(smooth(1, 64, 64), None)]
    import cv2

    for path in sorted(folder.iterdir())[:most] if folder else ():
        whole = cv2.imread(str(path))
        if whole is None or min(whole.shape[:2]) < 256:
            continue
        top, left = (whole.shape[0] - 256) // 2, (whole.shape[1] - 256) // 2
        hr = np.ascontiguousarray(whole[top : top + 256, left : left + 256, ::-1])
        lr, original = (torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255 for x in (downscale(hr, SCALE), hr))
        found.append((lr, original))
    return found


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the PSNR in dB of two pictures in bytes."""
    return -10 * float(((a - b).double() / 255).square().mean().clamp_min(1e-12).log10())


def compare(bits: int, folder: Path | None) -> None:
    """Print how far the engine's pictures are from the simulated network's, and that network's in float64."""
    torch.backends.cudnn.allow_tf32 = False  # the simulated network's convolutions
    source = open_packed(checkpoint_path(SCALE, bits))
    engine, simulated = GpuEngine(source), source.network.cuda()
    double = open_packed(checkpoint_path(SCALE, bits)).network.double().cuda()
    apart, equal, between, gains, own = [], [], [], [], []
    for number, (lr, hr) in enumerate(pictures(folder, 24)):
        x = lr.cuda()
        outputs = (engine(x), simulated(x), double(x.double()))
        ours, theirs, exact = ((output.float().clamp(0, 1) * 255).round().cpu() for output in outputs)
        own.append(float((exact == theirs).float().mean()))
        apart.append(float((ours - theirs).abs().max()))
        equal.append(float((ours == theirs).float().mean()))
        between.append(psnr(ours, theirs))
        if hr is not None:
            gains.append(psnr(ours, hr * 255) - psnr(theirs, hr * 255))
        if number == 0:
            say(f"{bits} bits, smooth noise: {apart[0]:.0f} levels at most, {equal[0]:.1%} equal, {between[0]:.1f} dB")
    if gains:
        told = f"mean {statistics.mean(gains):+.4f} dB, most {max(gains, key=abs):+.4f} dB"
        shares = (
            f"{max(apart):.0f} levels at most, {statistics.mean(equal):.1%} equal (float64 {statistics.mean(own):.1%})"
        )
        say(f"{bits} bits, {len(gains)} pictures: {shares}; PSNR {told}")


def compare_plans(engine: GpuEngine, bits: int, size: tuple[int, int, int]) -> None:
    """Print how far the engine's pictures are from those by the plan that `compare` has seen on small ones."""
    x = smooth(*size).cuda()
    base = GpuEngine(open_packed(checkpoint_path(SCALE, bits)))
    base.plan = BASE
    ours, theirs = ((each(x).clamp(0, 1) * 255).round() for each in (engine, base))
    apart, equal = float((ours - theirs).abs().max()), float((ours == theirs).float().mean())
    say(f"  {bits} bits, this plan and the one compared above: {apart:.0f} levels at most, {equal:.1%} equal")


def compile_child(seconds: float) -> None:
    """Time torch.compile's fp16 beside eager fp16, in this process."""
    clock = Clock(seconds)
    for name in ("64x64", "320x184"):
        network, half = network_for(SIZES[name], torch.float16), smooth(*SIZES[name]).cuda().half()
        began = time.monotonic()
        compiled = torch.compile(network, mode="reduce-overhead", dynamic=False)
        for _ in range(3):
            compiled(half)
        torch.cuda.synchronize()
        say(f"{name}, torch.compile (reduce-overhead), ready after {time.monotonic() - began:.0f} s:")
        if clock.left() < 3:
            return
        time_ways({"eager fp16": lambda n=network, h=half: n(h), "compiled fp16": lambda c=compiled, h=half: c(h)}, 15)


def warm_child(part: int, parts: int) -> None:
    """Compile every `parts`-th alternative, so that all processes find it in Triton's cache."""
    engine = GpuEngine(open_packed(checkpoint_path(SCALE, 3)))
    work = [(kind, program) for kind in KINDS for program in programs(kind)]
    for kind, program in work[part::parts]:
        attempt(f"compiling {kind} {program}", lambda k=kind, p=program: Candidate(engine, k, p, (1, 8, 8)).output())


def main() -> None:
    """Run everything that fits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=110)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--compile-child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    if arguments.compile_child:
        return compile_child(arguments.seconds)
    if arguments.part is not None:
        return warm_child(arguments.part, arguments.workers)
    run(arguments, Clock(arguments.seconds))


def run(arguments: argparse.Namespace, clock: Clock) -> None:
    """Compile, compare, choose and time."""
    say(torch.cuda.get_device_name(), "torch", torch.__version__)
    this = [sys.executable, __file__, "--workers", str(arguments.workers)]
    parts = [subprocess.Popen([*this, "--part", str(part)]) for part in range(arguments.workers)]
    engines = {bits: GpuEngine(open_packed(checkpoint_path(SCALE, bits))) for bits in BITS}
    for bits in BITS:
        attempt(f"comparison at {bits} bits", lambda b=bits: compare(b, arguments.pictures))
    for part in parts:
        attempt("compiling", lambda p=part: p.wait(timeout=max(1.0, min(60.0, clock.left() - 60))))
        part.kill()
    say(f"alternatives compiled, {clock.left():.0f} s left")
    plan = BASE
    for name, size in SIZES.items():
        if clock.left() < 15:
            say(f"{name}: no time left")
            continue
        say(f"{name}:")
        if size[0] == 1:  # a batch is a large picture
            plan = attempt("sweep", lambda s=size: sweep(engines[3], s, min(12, clock.left() - 25))) or plan
        say(f"  plan: {plan}")
        for bits in BITS:
            engines[bits] = GpuEngine(open_packed(checkpoint_path(SCALE, bits)))
            engines[bits].plan = plan
            attempt("agreement", lambda b=bits, s=size: compare_plans(engines[b], b, s))
        ways = attempt("ways", lambda s=size: ways_of(s, engines)) or {}
        attempt("timing", lambda w=ways, n=name: time_ways(w, 5 if n.startswith("16") else 15))
        del ways
        torch.cuda.empty_cache()
        say(f"  {clock.left():.0f} s left")
    if not arguments.no_compile and clock.left() > 20:
        child = [*this, "--compile-child", "--seconds", str(clock.left())]
        attempt("torch.compile", lambda: subprocess.run(child, timeout=clock.left()))
    say(f"done, {clock.left():.0f} s left")


if __name__ == "__main__":
    main()
