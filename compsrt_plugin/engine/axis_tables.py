"""Tables of offsets over axes: shared where they are even, and taken apart where axes do not depend on each other."""

from __future__ import annotations

import weakref

import numpy as np

Table = tuple[tuple[int, ...], np.ndarray]
"""Axes, in order, and int64 offsets with these axes."""

_even: weakref.WeakValueDictionary[tuple[int, int], np.ndarray] = weakref.WeakValueDictionary()


def evenly(size: int, step: int) -> np.ndarray:
    """Return 0, step, 2 step …, int64 (size,): one read-only array for all addresses; a plan makes thousands."""
    found = _even.get((size, step))
    if found is None:
        found = np.arange(size, dtype=np.int64) * step
        found.flags.writeable = False
        _even[size, step] = found
    return found


def separated(axes: tuple[int, ...], table: np.ndarray) -> tuple[int, list[Table]]:
    """Return a table of these axes as a number plus a sum of tables of fewer axes, as far as it is one."""
    found: list[Table] = []
    for axis in axes:
        if len(axes) == 1:
            break
        number = axes.index(axis)
        along = table[tuple(slice(None) if i == number else 0 for i in range(len(axes)))]
        rest = table.take(0, number)
        if np.array_equal(table, np.expand_dims(rest, number) + (along - along[0]).reshape(_along(axes, number))):
            found.append(((axis,), along - along[0]))
            axes, table = tuple(other for other in axes if other != axis), rest
    begin, tables = 0, list[Table]()
    for own, one in (*found, (axes, table)):
        if len(own) == 1 and len(one) > 1:
            even = evenly(len(one), int(one[1] - one[0]))
            if np.array_equal(one - one[0], even):
                begin, one = begin + int(one[0]), even
        tables.append((own, one))
    return begin, tables


def _along(axes: tuple[int, ...], number: int) -> list[int]:
    return [-1 if i == number else 1 for i in range(len(axes))]
