"""Time gathering samples and DOBI's search in them, against the published loop over 100 candidates.

    python benchmarks/bound_search.py [--bits 3] [--repeats 7]

Times are the least of the repeats. Set OMP_WAIT_POLICY=PASSIVE where other jobs share the cores: otherwise threads that
spin while they wait multiply the times of short operations, forward passes included.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from compsrt_plugin.quant.bounds.rows import search_rows
from compsrt_plugin.quant.bounds.samples import Samples
from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES

PATCH = {  # the inputs of SwinIR-light's quantizers for one 64x64 patch
    "linear input (4096, 60)": lambda: torch.randn(4096, 60),
    "its Hadamard transform (4096, 64)": lambda: torch.randn(4096, 64),
    "softmax map (64, 6, 64, 64)": lambda: torch.softmax(3 * torch.randn(64, 6, 64, 64), -1),
}


def least(repeats: int, action: Callable[[], object]) -> float:
    """Return the seconds of the fastest repeat."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


def naive_search(x: Tensor, bits: int) -> float:
    """Quantize x with each of the 100 candidates; return the smallest error."""
    low, high = x.min(), x.max()
    shrink = (high - low) / 200
    errors = []
    for i in range(100):
        lower, upper = low + i * shrink, high - i * shrink
        step = (upper - lower) / (2**bits - 1)
        quantized = ((x.clamp(lower, upper) - lower) / step).round() * step + lower
        errors.append(torch.linalg.vector_norm(x - quantized))
    return torch.stack(errors).min().item()


def gathered(x: Tensor) -> Samples:
    """Return samples of x alone."""
    samples = Samples()
    samples.add(x)
    return samples


def main() -> None:
    """Print one line per tensor, then the row-by-row search in a weight matrix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    search = BOUND_SEARCHES["dobi"]
    torch.manual_seed(0)
    print(f"{torch.get_num_threads()} threads, {options.bits} bits")
    print(f"{'':<36}{'add':>12}{'search':>11}{'naive loop':>13}{'ratio':>8}")
    for name, make in PATCH.items():
        x = make()
        samples = gathered(x)
        add = least(options.repeats, lambda x=x, samples=samples: samples.add(x))
        find = least(options.repeats, lambda samples=samples: search(samples, options.bits))
        naive = least(1, lambda x=x: naive_search(x, options.bits))
        per_value = add / x.numel() * 1e9
        print(
            f"{name:<36}{per_value:>6.2f} ns/v.{find * 1e3:>8.2f} ms{naive * 1e3:>10.1f} ms"
            f"{naive / (add + find):>7.0f}x"
        )
    weight = torch.randn(120, 64)
    rows = least(options.repeats, lambda: search_rows(weight, "dobi", options.bits))
    each = least(1, lambda: [naive_search(row, options.bits) for row in weight])
    print(f"{'rows of a weight (120, 64)':<48}{rows * 1e3:>8.2f} ms{each * 1e3:>10.1f} ms{each / rows:>7.0f}x")


if __name__ == "__main__":
    main()
