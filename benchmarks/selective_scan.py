"""Measure CPU time of the selective scan, forward and backward, and of MambaIRv2-light around it.

    python benchmarks/selective_scan.py [--size 64] [--rounds 5]

On one thread: each way to compute the scan of one layer (48 channels, 8 states), compiled for each instruction set
and in torch's own operations. Then the whole network on an image of `size` x `size` low-resolution pixels. Medians of
CPU milliseconds; the ways take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch

import compsrt_plugin
from compsrt_plugin import native
from compsrt_plugin.native import scan as kernels
from compsrt_plugin.ops.selective_scan import gradients_in_torch, in_torch

CHANNELS, STATES = 48, 8


def milliseconds(run: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    begin = time.process_time()
    run()
    return 1000 * (time.process_time() - begin)


def at_level(level: str, run: Callable[[], object]) -> Callable[[], object]:
    """Return `run` with the kernels limited to an instruction set."""

    def limited() -> None:
        before = os.environ.get(native.LEVEL_VARIABLE)
        os.environ[native.LEVEL_VARIABLE] = level
        run()
        if before is None:
            del os.environ[native.LEVEL_VARIABLE]
        else:
            os.environ[native.LEVEL_VARIABLE] = before

    return limited


def main() -> None:
    """Measure, and print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="height and width of the image (default: 64)")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each way (default: 5)")
    args = parser.parse_args()
    compsrt_plugin.register()
    from compsrt_plugin.archs.mambairv2_light_arch import MambaIRv2Light

    torch.set_num_threads(1)
    torch.manual_seed(0)
    length = args.size**2
    u, delta, grad = (torch.randn(1, length, CHANNELS) for _ in range(3))
    B, C = (torch.randn(1, length, STATES) for _ in range(2))
    given = u, delta, -torch.rand(CHANNELS, STATES), B, C, torch.randn(CHANNELS), torch.randn(CHANNELS)
    network, image = MambaIRv2Light().eval(), torch.rand(1, 3, args.size, args.size)
    ways: dict[str, Callable[[], object]] = {}
    for level in (found.name for found in native.levels()):
        ways[f"scan, {level}, forward"] = at_level(level, lambda: kernels.selective_scan(*given))
        ways[f"scan, {level}, backward"] = at_level(level, lambda: kernels.selective_scan_backward(grad, *given))
    ways["scan, torch, forward"] = lambda: in_torch(*given)
    ways["scan, torch, backward"] = lambda: gradients_in_torch(grad, *given)
    ways["network, forward"] = lambda: network(image)
    with torch.no_grad():
        for run in ways.values():
            run()
        taken = [{name: milliseconds(run) for name, run in ways.items()} for _ in range(args.rounds)]
    for name in ways:
        print(f"{name:24} {statistics.median(one[name] for one in taken):8.1f} ms")


if __name__ == "__main__":
    main()
