"""Time the Hadamard transform as a cached matrix and as a butterfly, as ratios in one run.

    python benchmarks/hadamard.py

The matrix product does m multiply-adds per value and one pass over memory; the butterfly does log2(m) additions per
value and log2(m) passes. The package uses the faster one.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor
from torch.nn import functional as F

from compsrt_plugin.quant.transforms.hadamard import hadamard_transform, padded_width

CASES = {"linear input": (4096, 60), "GELU output": (4096, 120), "query": (64 * 6 * 64, 10), "map": (64 * 6 * 64, 64)}
ROUNDS = 30


def butterfly(x: Tensor) -> Tensor:
    """Transform the last axis by log2(m) passes of sums and differences."""
    order = padded_width(x.shape[-1])
    x = F.pad(x, (0, order - x.shape[-1]))
    shape, half = x.shape, 1
    while half < order:
        pairs = x.view(*shape[:-1], -1, 2, half)
        a, b = pairs.unbind(-2)
        x = torch.stack((a + b, a - b), dim=-2).view(shape)
        half *= 2
    return x / order**0.5


def main() -> None:
    """Print, for each tensor of a 64x64 patch of SwinIR-light, both times and their ratio."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {ROUNDS} interleaved runs")
    print(f"{'tensor':14s}{'shape':>16s}{'matrix ms':>12s}{'butterfly ms':>14s}{'ratio':>8s}")
    for name, shape in CASES.items():
        x = torch.randn(shape)
        assert torch.allclose(hadamard_transform(x), butterfly(x), atol=1e-4)
        times: dict[str, list[float]] = {"matrix": [], "butterfly": []}
        for _ in range(ROUNDS):
            for method, function in (("matrix", hadamard_transform), ("butterfly", butterfly)):
                start = time.perf_counter()
                function(x)
                times[method].append(1e3 * (time.perf_counter() - start))
        matrix, fast = (statistics.median(times[method]) for method in ("matrix", "butterfly"))
        print(f"{name:14s}{shape!s:>16s}{matrix:12.2f}{fast:14.2f}{fast / matrix:7.1f}x")


if __name__ == "__main__":
    main()
