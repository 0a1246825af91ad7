"""Digits: the positions in a tensor as numbers, whose digits are what the axes of the tensor and of its view share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


def length(cut: int | slice, size: int) -> int:
    """Return how many values of a digit a cut keeps."""
    return len(range(*cut.indices(size))) if isinstance(cut, slice) else 1


def digits_of(own: Sequence[int], shape: Sequence[int], stride: Sequence[int]) -> tuple[list[int], list[int]] | None:
    """Return place values and sizes of the digits that compose the axes and the view's axes, highest first.

    None if there are no such digits.

    Args:
        own: sizes of the tensor's axes.
        shape, stride: of the view, strides in elements of a contiguous tensor.
    """
    total = math.prod(own)
    values, place = {1, total}, total
    for size in own:
        place = place // size if size else 0
        values.add(place)
    values |= {step for size, step in zip(shape, stride) if size > 1 and step > 0}
    optional = {size * step for size, step in zip(shape, stride) if size > 1 and step > 0}
    chain = sorted(values - {0})
    if any(high % low for low, high in pairwise(chain)):
        return None
    for value in sorted(optional - values):
        tried = sorted([*chain, value])
        if all(high % low == 0 for low, high in pairwise(tried)):
            chain = tried
    places = list(reversed(chain[:-1]))
    return places, [high // low for high, low in zip([total, *places], places)]


def taken_digits(
    places: list[int], sizes: list[int], shape: Sequence[int], stride: Sequence[int], offset: int
) -> list[tuple[int | None, int | slice]] | None:
    """Return for each digit its axis of the view, and its values in the view; None if an axis has parts of digits.

    Args:
        places, sizes: as `digits_of` returns them.
        shape, stride, offset: of the view, in elements of a contiguous tensor.
    """
    total = places[0] * sizes[0] if places else 1
    if offset >= total:
        return None
    start = [offset // place % size for place, size in zip(places, sizes)]
    taken: list[tuple[int | None, int | slice]] = [(None, begin) for begin in start]
    for axis, (size, step) in enumerate(zip(shape, stride)):
        if size == 1:
            continue
        if step == 0:
            continue  # repeated: no table
        digit = places.index(step)
        while size > 1:
            if digit < 0 or taken[digit][0] is not None:
                return None
            if size >= sizes[digit] and size % sizes[digit] == 0:
                if start[digit]:
                    return None
                taken[digit] = (axis, slice(None))
                size //= sizes[digit]
            elif start[digit] + size <= sizes[digit]:
                taken[digit] = (axis, slice(start[digit], start[digit] + size))
                size = 1
            else:
                return None
            digit -= 1
    return taken
