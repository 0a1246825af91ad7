"""Bounds [l, u] of each row of a weight matrix: the searches of `bounds.search`, for all rows at once.

A weight row is short. Quantizing it with all candidates is cheaper than the running totals that `bounds.search` uses
for activations, and one search of ten thousand rows is cheaper than ten thousand calls.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from compsrt_plugin.errors import unknown_name
from compsrt_plugin.quant.bounds.samples import Samples
from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES, CLOSING, PERCENTILES, Closing, ensure_gap, first_smallest
from compsrt_plugin.quant.fake import nearest_values, scale_of_bounds

_BLOCK = 1 << 12  # weights quantized with all candidates at a time: 3 MiB per intermediate result

_Bounds = tuple[Tensor, Tensor]  # lower, upper, each (rows, 1)
_RowSearch = Callable[[Tensor, Tensor, _Bounds, int], _Bounds]  # rows, counted, (min, max), bits


def search_rows(weight: Tensor, search: str, bits: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the bounds of each row of `weight`, as `BOUND_SEARCHES[search]` chooses them for the row alone.

    Args:
        weight: (rows, cols).
        search: name of a bound search. A search that other code registered is called once for each row.
        bits: code width.
        mask: (rows, cols) boolean, False for weights to ignore; a row without True counts as a whole.

    Returns:
        lower, upper: (rows, 1) each, float32, on the weight's device.

    Raises:
        CompSRTError: no bound search has that name; the message suggests the nearest.
        ValueError: the weight holds NaN or infinity.
    """
    if search not in BOUND_SEARCHES:
        raise unknown_name("bound search", search, BOUND_SEARCHES)
    if not weight.isfinite().all():
        raise ValueError("the weight to search bounds for holds NaN or infinity")
    rows = weight.detach().to("cpu", torch.float32)
    counted = torch.ones_like(rows, dtype=torch.bool) if mask is None else mask.to("cpu")
    counted = counted | ~counted.any(1, keepdim=True)
    without_candidates = search == "minmax"
    if search in _AT_ONCE and (without_candidates or rows.shape[1] <= _BLOCK):
        block = max(len(rows), 1) if without_candidates else _BLOCK // rows.shape[1]
        pairs = [
            _at_once(some.double(), kept, search, bits) for some, kept in zip(rows.split(block), counted.split(block))
        ]
        lower, upper = (torch.cat(bounds) for bounds in zip(*pairs))
    else:
        found = [_alone(row[kept], search, bits) for row, kept in zip(rows, counted)]
        lower, upper = torch.tensor(found, dtype=torch.float64, device="cpu").split(1, dim=1)
    return lower.to(weight.device, torch.float32), upper.to(weight.device, torch.float32)


def _alone(row: Tensor, search: str, bits: int) -> tuple[float, float]:
    samples = Samples()
    samples.add(row)
    return BOUND_SEARCHES[search](samples, bits)


def _at_once(rows: Tensor, counted: Tensor, search: str, bits: int) -> _Bounds:
    """Search a block of `rows` (rows, cols), float64, with all candidates at once."""
    low = rows.masked_fill(~counted, torch.inf).amin(1, keepdim=True)
    high = rows.masked_fill(~counted, -torch.inf).amax(1, keepdim=True)
    lower, upper = _AT_ONCE[search](rows, counted, (low, high), bits)
    constant = low == high
    lower, upper = torch.where(constant, low, lower), torch.where(constant, high, upper)
    return lower, ensure_gap(lower, upper)


def _minmax(rows: Tensor, counted: Tensor, ends: _Bounds, bits: int) -> _Bounds:
    return ends


def _percentile(rows: Tensor, counted: Tensor, ends: _Bounds, bits: int) -> _Bounds:
    ascending = rows.masked_fill(~counted, torch.inf).sort(1).values
    number = counted.sum(1, keepdim=True)
    lower, upper = (ascending.gather(1, (share * number).ceil().long() - 1) for share in PERCENTILES)
    apart = lower < upper
    return torch.where(apart, lower, ends[0]), torch.where(apart, upper, ends[1])


def _dobi(closing: Closing, rows: Tensor, counted: Tensor, ends: _Bounds, bits: int) -> _Bounds:
    lower, upper = closing(*ends)  # (rows, candidates)
    values, weights = rows[:, None, :], counted.to(rows.dtype)[:, :, None]
    scale = scale_of_bounds(lower, upper, bits)[:, :, None]
    quantized = nearest_values(values, scale, lower[:, :, None], 2**bits - 1)
    squares = quantized.sub_(values).square_()  # (rows, candidates, cols)
    errors = torch.bmm(squares, weights).squeeze(2)
    spread = torch.bmm((rows - (ends[0] + ends[1]) / 2).square()[:, None, :], weights).squeeze(2)
    best = first_smallest(errors, spread)
    return lower.gather(1, best), upper.gather(1, best)


_AT_ONCE: dict[str, _RowSearch] = {
    "minmax": _minmax,
    "percentile": _percentile,
    **{name: partial(_dobi, closing) for name, closing in CLOSING.items()},
}
