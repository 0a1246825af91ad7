"""Searches for the bounds [l, u] of a quantizer, by name.

DOBI (distribution-oriented bound initialization) is from 2DQuant (NeurIPS 2024, arXiv 2406.06649). The published code
quantizes the whole tensor with each of 100 pairs of bounds. Here the errors of all 100 pairs follow from running totals
of the values (count, sum and sum of squares up to each decision threshold), so the data are read once, when they are
gathered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from compsrt_plugin.quant.bounds.samples import Distribution, Samples
from compsrt_plugin.quant.fake import dequantize, scale_of_bounds

BoundSearch = Callable[[Samples, int], tuple[float, float]]
"""Takes the samples of a tensor and the code width in bits and returns (lower, upper)."""

Closing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes minima and maxima (…, 1) and returns lower and upper bounds of the candidates (…, candidates)."""

BOUND_SEARCHES: dict[str, BoundSearch] = {}
"""Every bound search by its name in option files; `register_bound_search` adds to it."""

PERCENTILES = (0.01, 0.99)
"""The fractions of all values at or below the two bounds of `percentile`."""

_CANDIDATES = 100  # of 2DQuant
_SMALLEST_SPAN = 2.0**-22  # of the larger bound, so that upper > lower still holds after rounding to float32
_TIE = 1e-12  # of the sum of squares; a smaller difference between two errors is rounding


def register_bound_search(name: str) -> Callable[[BoundSearch], BoundSearch]:
    """Return a decorator that adds a function to `BOUND_SEARCHES` as `name`.

    The registered search always returns upper > lower, also in float32. If the function does not, upper is increased
    by 2^-22 of the larger bound (of 1 if both are 0). A constant tensor gets such bounds without a call of the
    function: lower is the constant, so code 0 represents it exactly.

    Raises:
        ValueError: the name is taken. The registry is unchanged.
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
    """Return the 1 % and 99 % quantiles (`PERCENTILES`), the baseline of 2DQuant.

    Return minimum and maximum if the two quantiles are equal but the values differ, as with almost only zeros.
    """
    distribution = samples.distribution()
    lower, upper = (distribution.quantile(share) for share in PERCENTILES)
    return (lower, upper) if lower < upper else (samples.minimum, samples.maximum)


@register_bound_search("dobi")
def dobi(samples: Samples, bits: int) -> tuple[float, float]:
    """Return the best of 100 pairs of bounds that move inward from both ends.

    l_i = min + i·Δ, u_i = max − i·Δ, Δ = (max − min) / 200, i = 0 … 99. The pair with the smallest ‖x − x̂‖₂ wins,
    the first one on a tie; x̂ as in `quant.fake` with Z = l.
    """
    return _best(samples, _close_in, bits)


@register_bound_search("dobi_one_sided")
def dobi_one_sided(samples: Samples, bits: int) -> tuple[float, float]:
    """Return the best of 100 pairs of bounds that move inward from above, for softmax maps and GELU outputs.

    Like `dobi`, but l_i = min, u_i = max − i·(max − min) / 100.
    """
    return _best(samples, _close_in_from_above, bits)


def squared_errors(values: Distribution, lower: Tensor, upper: Tensor, bits: int) -> Tensor:
    """Return Σ(x − x̂)² over all values for each pair of bounds, (candidates,).

    The n values whose nearest level is v lie between the thresholds half a step below and above v, and contribute
    Σx² − 2v·Σx + v²·n. Their count, sum and sum of squares are differences of running totals.

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
"""The candidates of each variant of DOBI."""


def _best(samples: Samples, closing: Closing, bits: int) -> tuple[float, float]:
    low, high = torch.tensor([[samples.minimum], [samples.maximum]], dtype=torch.float64, device="cpu")
    lower, upper = closing(low, high)
    values = samples.distribution()
    best = first_smallest(squared_errors(values, lower, upper, bits), values.totals[2:])
    return lower[best].item(), upper[best].item()


def first_smallest(errors: Tensor, squares: Tensor) -> Tensor:
    """Return the index of the smallest of `errors` (…, candidates), the first one on a tie: (…, 1).

    Errors are equal if they differ by less than the rounding of a sum of `squares` (…, 1), from which they were
    computed.
    """
    smallest = errors.amin(-1, keepdim=True) + _TIE * squares
    return (errors <= smallest).to(torch.uint8).argmax(-1, keepdim=True)


def ensure_gap(lower: Tensor, upper: Tensor) -> Tensor:
    """Return `upper`, increased where its distance to `lower` would vanish in float32."""
    largest = torch.maximum(lower.abs(), upper.abs())
    return torch.maximum(upper, lower + _SMALLEST_SPAN * torch.where(largest > 0, largest, 1.0))
