"""Large constants from small ones: relative positions in a window as sums, Hadamard matrices as products."""

from __future__ import annotations

import math

import numpy as np


def as_sum(table: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a column (n, 1) and a row (m,) whose sum has the values of a table, in order.

    Args:
        table: whole numbers, none below 0; (n, m), or of another shape that n, m divide: the most square that fits.

    Returns:
        Whole numbers of its type, none below 0, or None if the table is no such sum or has one row or column.
    """
    for width in [table.shape[1]] if table.ndim == 2 else _divisors(table.size):
        rows = table.reshape(-1, width)
        along = rows[0] - rows[0].min()
        column = rows[:, :1] - along[0]
        if 1 < width < table.size and np.array_equal(rows, column + along):
            return column, along
    return None


def _divisors(size: int) -> list[int]:
    """Return the divisors of a size, 1 and itself left out, the nearest to its root first."""
    low = [one for one in range(2, math.isqrt(size) + 1) if size % one == 0]
    return sorted({*low, *(size // one for one in low)}, key=lambda one: abs(math.log(one * one / size)))


def as_hadamard(negative: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return three small tables from which the signs of a Hadamard matrix follow.

    Args:
        negative: bool (n, m): where the matrix is below 0. n is a power of two, and m at most n.

    Returns:
        `outer` (a, 1, a, 1), `inner` (1, b, 1, b) and `row` (m,), a b = n: the exclusive or of the first two, as (n, n)
        and without the last columns, and of the third is `negative`. None if the signs are others.
    """
    if negative.ndim != 2 or negative.shape[0] & (negative.shape[0] - 1) or negative.shape[1] > negative.shape[0]:
        return None
    n, m = negative.shape
    a = 1 << (n.bit_length() - 1) // 2
    outer, inner, whole = (_walsh(size) for size in (a, n // a, n))
    row = negative[0]
    if not np.array_equal(whole[:, :m] ^ row, negative):
        return None
    return outer[:, None, :, None], inner[None, :, None, :], row


def _walsh(size: int) -> np.ndarray:
    """Return where the natural Hadamard matrix of a power of two is below 0."""
    found = np.zeros((1, 1), bool)
    while len(found) < size:
        found = np.block([[found, found], [found, ~found]])
    return found
