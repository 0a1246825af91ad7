"""Searches for the bounds [l, u] of a quantizer, by name.

DOBI (distribution-oriented bound initialization) is from 2DQuant (NeurIPS 2024, arXiv 2406.06649). Published,
it quantizes the whole tensor with each of 100 pairs of bounds. Here the errors of all 100 are read from running
totals of the values (number, sum and squares up to each decision threshold): the data are passed over once,
when they are gathered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from compsrt_plugin.quant.bounds.samples import Distribution, Samples
from compsrt_plugin.quant.fake import dequantize, scale_of_bounds

BoundSearch = Callable[[Samples, int], tuple[float, float]]
"""Takes the values of a tensor and the code width in bits, gives (lower, upper)."""

Closing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes minima and maxima (…, 1), gives the candidates' lower and upper bounds (…, candidates)."""

BOUND_SEARCHES: dict[str, BoundSearch] = {}
"""Every bound search by the name option files use; filled by `register_bound_search`."""

PERCENTILES = (0.01, 0.99)
"""The shares of all values that lie at or below the bounds of `percentile`."""

_CANDIDATES = 100  # of 2DQuant
_SMALLEST_SPAN = 2.0**-22  # of the larger bound: upper > lower must survive rounding to float32
_TIE = 1e-12  # of the sum of squares: errors closer than this differ by rounding alone


def register_bound_search(name: str) -> Callable[[BoundSearch], BoundSearch]:
    """Return a decorator that enters a function in `BOUND_SEARCHES` as `name`.

    What it enters always gives upper > lower, in float32 too. Where the function does not, upper is raised by
    2^-22 of the larger bound (of 1, if both are 0). A constant tensor gets such bounds without the function
    being asked: lower is the constant, so that code 0 represents it exactly.

    Raises:
        ValueError: the name is taken. The registry is left as it was.
    """

    def register(search: BoundSearch) -> BoundSearch:
        if name in BOUND_SEARCHES:
            raise ValueError(f"a bound search named {name!r} is registered already")

        @functools.wraps(search)
        def usable(samples: Samples, bits: int) -> tuple[float, float]:
            bounds = samples.minimum, samples.maximum
            if bounds[0] < bounds[1]:
                bounds = search(samples, bits)
            lower, upper = torch.tensor(bounds, dtype=torch.float64, device="cpu")
            return lower.item(), ensure_gap(lower, upper).item()

        BOUND_SEARCHES[name] = usable
        return usable

    return register


@register_bound_search("minmax")
def minmax(samples: Samples, bits: int) -> tuple[float, float]:
    """Return minimum and maximum: nothing is clipped."""
    return samples.minimum, samples.maximum


@register_bound_search("percentile")
def percentile(samples: Samples, bits: int) -> tuple[float, float]:
    """Return the 1 % and 99 % quantiles (`PERCENTILES`), the baseline that 2DQuant compares DOBI with.

    Minimum and maximum where the two coincide though the values differ (hardly anything but zeros, say).
    """
    distribution = samples.distribution()
    lower, upper = (distribution.quantile(share) for share in PERCENTILES)
    return (lower, upper) if lower < upper else (samples.minimum, samples.maximum)


@register_bound_search("dobi")
def dobi(samples: Samples, bits: int) -> tuple[float, float]:
    """Return the best of 100 pairs of bounds that close in from both ends.

    l_i = min + i·Δ, u_i = max − i·Δ, Δ = (max − min) / 200, i = 0 … 99. The smallest ‖x − x̂‖₂ wins, the first
    of equals. x̂ = s·round((clip(x, l, u) − l) / s) + l with s = (u − l) / (2^bits − 1).
    """
    return _best(samples, _close_in, bits)


@register_bound_search("dobi_one_sided")
def dobi_one_sided(samples: Samples, bits: int) -> tuple[float, float]:
    """Return the best of 100 pairs of bounds that close in from above: for softmax maps and GELU outputs.

    As `dobi`, but l_i = min, u_i = max − i·(max − min) / 100.
    """
    return _best(samples, _close_in_from_above, bits)


def squared_errors(values: Distribution, lower: Tensor, upper: Tensor, bits: int) -> Tensor:
    """Return (candidates,): Σ(x − x̂)² over all values, for each pair of bounds.

    The values whose nearest level is v, between the thresholds half a step below and above it, contribute
    Σx² − 2v·Σx + v²·n. Their number n, sum and squares are differences of running totals.

    Args:
        values: the distribution of the values.
        lower: (candidates,) float64.
        upper: (candidates,) float64, above `lower`.
        bits: code width.
    """
    codes = torch.arange(2**bits, dtype=lower.dtype, device=lower.device)
    scale = scale_of_bounds(lower, upper, bits)[:, None]
    levels = dequantize(codes, scale, (lower - values.centre)[:, None])  # (candidates, levels)
    below = values.below(levels[:, :-1] + scale / 2)  # (3, candidates, levels − 1)
    ends = values.totals[:, None, None].expand(-1, lower.numel(), 1)
    number, total, squares = torch.cat([torch.zeros_like(ends), below, ends], dim=2).diff(dim=2)
    return (squares - 2 * levels * total + levels**2 * number).sum(1)


def _close_in(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    step = torch.arange(_CANDIDATES, dtype=low.dtype, device=low.device) * ((high - low) / (2 * _CANDIDATES))
    return low + step, high - step


def _close_in_from_above(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    step = torch.arange(_CANDIDATES, dtype=low.dtype, device=low.device) * ((high - low) / _CANDIDATES)
    return low + torch.zeros_like(step), high - step


CLOSING: dict[str, Closing] = {"dobi": _close_in, "dobi_one_sided": _close_in_from_above}
"""The candidates of each of DOBI's two searches."""


def _best(samples: Samples, closing: Closing, bits: int) -> tuple[float, float]:
    low, high = torch.tensor([[samples.minimum], [samples.maximum]], dtype=torch.float64, device="cpu")
    lower, upper = closing(low, high)
    values = samples.distribution()
    best = first_smallest(squared_errors(values, lower, upper, bits), values.totals[2:])
    return lower[best].item(), upper[best].item()


def first_smallest(errors: Tensor, squares: Tensor) -> Tensor:
    """Return (…, 1): the place of the first of the smallest `errors` (…, candidates).

    Errors count as equal within the rounding of a sum of `squares` (…, 1), from which they were computed.
    """
    smallest = errors.amin(-1, keepdim=True) + _TIE * squares
    return (errors <= smallest).to(torch.uint8).argmax(-1, keepdim=True)


def ensure_gap(lower: Tensor, upper: Tensor) -> Tensor:
    """Return `upper`, raised where it is not above `lower` by enough for float32."""
    largest = torch.maximum(lower.abs(), upper.abs())
    return torch.maximum(upper, lower + _SMALLEST_SPAN * torch.where(largest > 0, largest, 1.0))
