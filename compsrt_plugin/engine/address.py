"""`Address`: where the elements of a tensor lie in a buffer, through any number of copies that only move them.

Networks partition images into windows, roll, permute and merge them again, and copy at each step. An address follows
all of that without moving anything: it is a sum of tables, offset + Σ table[index of some axes]. A permutation renames
axes, a roll rolls one table, a partition splits an axis in two. An operator can therefore read its operand where it was
written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from compsrt_plugin.engine.axis_tables import Table, evenly, separated
from compsrt_plugin.engine.digits import digits_of, length, taken_digits
from compsrt_plugin.engine.steps import Buffer


class RowsAt(NamedTuple):
    """The rows of an address: where they begin, and what lies between their channels.

    Attributes:
        offset: offset of row 0 without a table, else added to each of its entries.
        at: (rows,), or None: `stride` apart.
        stride, channel: elements between rows and between channels.
    """

    offset: int
    at: np.ndarray | None
    stride: int
    channel: int


@dataclass(frozen=True)
class Address:
    """Where the elements of a tensor lie.

    Attributes:
        buffer: that they lie in.
        shape: of the tensor.
        offset: of element 0, up to the tables.
        tables: axes, in order, and int64 offsets with these axes; an axis without a table does not matter.
    """

    buffer: Buffer
    shape: tuple[int, ...]
    offset: int
    tables: tuple[Table, ...]

    @staticmethod
    def strided(buffer: Buffer, shape: Sequence[int], stride: Sequence[int], offset: int = 0) -> Address:
        """Return the address of a tensor with these strides."""
        tables = tuple(
            ((axis,), evenly(size, step)) for axis, (size, step) in enumerate(zip(shape, stride)) if size > 1 and step
        )
        return Address(buffer, tuple(shape), offset, tables)

    def permuted(self, order: Sequence[int]) -> Address:
        """Return the address with its axes in another order."""
        place = {axis: number for number, axis in enumerate(order)}
        tables = []
        for axes, table in self.tables:
            named = [place[axis] for axis in axes]
            sort = np.argsort(named)
            tables.append((tuple(named[i] for i in sort), table.transpose(sort)))
        return Address(self.buffer, tuple(self.shape[axis] for axis in order), self.offset, tuple(tables))

    def rolled(self, shift: int, axis: int) -> Address:
        """Return the address after a roll along an axis."""
        tables = tuple(
            (axes, np.roll(table, shift, axes.index(axis)) if axis in axes else table) for axes, table in self.tables
        )
        return replace(self, tables=tables)

    def broadcast(self, shape: tuple[int, ...]) -> Address:
        """Return the address broadcast to this shape: leading axes are added and axes of size 1 repeated."""
        more = len(shape) - len(self.shape)
        return replace(self, shape=shape, tables=tuple((tuple(a + more for a in axes), t) for axes, t in self.tables))

    def viewed(self, shape: Sequence[int], stride: Sequence[int], offset: int) -> Address | None:
        """Return the address of a view, its strides and offset being those of a contiguous tensor of this shape.

        None if the view is not composed of whole parts of the axes.
        """
        digits = digits_of(self.shape, shape, stride)
        if digits is None:
            return None
        places, sizes = digits
        taken = taken_digits(places, sizes, shape, stride, offset)
        if taken is None:
            return None
        found: list[tuple[list[int], np.ndarray]] = []
        begin = self.offset
        for axes, table in self._split(places, sizes):
            kept, index = [], []
            for digit in axes:
                axis, cut = taken[digit]
                index.append(cut)
                if axis is not None:
                    kept.append(digit)
            part = table[tuple(index)]
            if kept:
                found.append((kept, part))
            else:
                begin += int(part)
        return self._gathered(shape, begin, found, {d: axis for d, (axis, _) in enumerate(taken)}, taken, sizes)

    def _split(self, places: list[int], sizes: list[int]) -> list[tuple[list[int], np.ndarray]]:
        """Return the tables by digits in the place of axes."""
        of_axis: list[list[int]] = []
        place = math.prod(self.shape)
        for size in self.shape:
            low = place // size if size else 0
            of_axis.append([d for d in range(len(places)) if low <= places[d] < place])
            place = low
        split = []
        for axes, table in self.tables:
            digits = [digit for axis in axes for digit in of_axis[axis]]
            split.append((digits, table.reshape([sizes[digit] for digit in digits])))
        return split

    def _gathered(
        self,
        shape: Sequence[int],
        offset: int,
        found: list[tuple[list[int], np.ndarray]],
        axis_of: dict[int, int | None],
        taken: list[tuple[int | None, int | slice]],
        sizes: list[int],
    ) -> Address:
        """Return tables by the axes of the view."""
        of_axis: dict[int, list[int]] = {}
        for digit, axis in axis_of.items():
            if axis is not None:
                of_axis.setdefault(axis, []).append(digit)
        groups: list[tuple[set[int], list[tuple[list[int], np.ndarray]]]] = []
        for digits, table in found:  # tables that share an axis are merged
            axes = {axis_of[digit] for digit in digits}
            alike = [group for group in groups if group[0] & axes]
            for group in alike:
                groups.remove(group)
            together: set[int] = set().union(axes, *(group[0] for group in alike))  # pyright: ignore
            groups.append((together, [(digits, table), *(part for group in alike for part in group[1])]))
        tables = []
        for axes, parts in groups:
            order = sorted(axes)
            digits = [digit for axis in order for digit in of_axis[axis]]
            total = np.zeros([1] * len(digits), np.int64)
            for own, table in parts:
                by_place = sorted(range(len(own)), key=lambda i, own=own: digits.index(own[i]))
                whole = [1] * len(digits)
                for i in by_place:
                    whole[digits.index(own[i])] = table.shape[i]
                total = total + table.transpose(by_place).reshape(whole)
            full = [length(taken[digit][1], sizes[digit]) for digit in digits]
            whole = np.broadcast_to(total, full).reshape([shape[axis] for axis in order])
            begin, apart = separated(tuple(order), whole)
            offset += begin
            tables += apart
        return Address(self.buffer, tuple(shape), offset, tuple(tables))

    def strides(self) -> tuple[int, ...] | None:
        """Return the strides of the tensor, or None if it has none."""
        found = [0] * len(self.shape)
        for axes, table in self.tables:
            index = [0] * len(axes)
            for number, axis in enumerate(axes):
                if self.shape[axis] > 1:
                    one = list(index)
                    one[number] = 1
                    found[axis] = int(table[tuple(one)] - table[tuple(index)])
            grid = sum(
                (np.arange(self.shape[axis]) * found[axis]).reshape([-1 if a == axis else 1 for a in axes])
                for axis in axes
            )
            if not np.array_equal(table - table[tuple(index)], np.broadcast_to(grid, table.shape)):
                return None
        return tuple(found)

    def origin(self) -> int:
        """Return the offset of element 0."""
        return self.offset + sum(int(table.flat[0]) for _, table in self.tables)

    def steps(self) -> list[int]:
        """Return the distance from the first to the second element of each axis; 0 for axes of size 1."""
        found = [0] * len(self.shape)
        for axes, table in self.tables:
            for number, axis in enumerate(axes):
                if self.shape[axis] > 1:
                    found[axis] = int(np.take(table, 1, number).flat[0] - np.take(table, 0, number).flat[0])
        return found

    def explicit(self, axes: Sequence[int] | None = None) -> np.ndarray:
        """Return the table of these axes, all by default, without the offset."""
        axes = range(len(self.shape)) if axes is None else axes
        total = np.zeros([self.shape[axis] for axis in axes], np.int64)
        for own, table in self.tables:
            if set(own) <= set(axes):
                total += table.reshape([self.shape[axis] if axis in own else 1 for axis in axes])
        return total

    def alone(self, axis: int) -> int | None:
        """Return the stride of an axis; None if it has none or depends on another axis."""
        for axes, table in self.tables:
            if axis in axes:
                if len(axes) > 1:
                    return None
                step = int(table[1] - table[0])
                return step if np.array_equal(table - table[0], np.arange(len(table)) * step) else None
        return 0

    def rows(self) -> RowsAt | None:
        """Return the rows, which are all axes except the last; None if channels have no stride."""
        channel = self.alone(len(self.shape) - 1)
        if channel is None:
            return None
        last = len(self.shape) - 1
        begin = self.offset + sum(int(table[0]) for axes, table in self.tables if axes == (last,))
        at = self.explicit(range(last)).reshape(-1)
        stride = int(at[1] - at[0]) if len(at) > 1 else 0
        if len(at) == 0 or np.array_equal(at, at[0] + np.arange(len(at)) * stride):
            return RowsAt(begin + (int(at[0]) if len(at) else 0), None, stride, channel)
        return RowsAt(begin, np.ascontiguousarray(at), 0, channel)

    def merged(self, others: Sequence[Address]) -> list[Address]:
        """Return this address and others of its shape with the last axes joined as far as all of them allow."""
        found = [self, *others]
        while len(found[0].shape) > 1:
            joined = [address._joined() for address in found]
            if any(address is None for address in joined):
                break
            found = [address for address in joined if address is not None]
        return found

    def _joined(self) -> Address | None:
        last = len(self.shape) - 1
        inner, outer = self.alone(last), self.alone(last - 1)
        if inner is None or outer is None or outer != inner * self.shape[last]:
            return None
        size = self.shape[last] * self.shape[last - 1]
        ends = [table for axes, table in self.tables if axes in ((last,), (last - 1,))]
        begin = self.offset + sum(int(table[0]) for table in ends)
        tables = [(axes, table) for axes, table in self.tables if axes not in ((last,), (last - 1,))]
        if inner and size > 1:
            tables.append(((last - 1,), evenly(size, inner)))
        return Address(self.buffer, (*self.shape[: last - 1], size), begin, tuple(tables))


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a contiguous tensor."""
    stride, found = 1, []
    for size in reversed(shape):
        found.append(stride)
        stride *= size
    return tuple(reversed(found))


PARTS = (16, 8, 4)
"""Into which an axis is split that has no stride: sides of windows."""


def along_any_axis(found: Sequence[Address]) -> list[Address]:
    """Return addresses of one shape with other axes: the last one is the longest that has strides in all of them.

    Where none has, as after windows were merged, it is a part of an axis; where no part has either, one of size 1.
    """
    shape = found[0].shape
    longer = [axis for axis in range(len(shape)) if shape[axis] > 1]
    strided = [axis for axis in longer if all(address.alone(axis) is not None for address in found)]
    if strided:
        last = max(strided, key=lambda axis: shape[axis])
        return [address.permuted([*(a for a in range(len(shape)) if a != last), last]) for address in found]
    for part, axis in product(PARTS, range(len(shape))):
        in_parts = (*shape[:axis], shape[axis] // part, part, *shape[axis + 1 :])
        if shape[axis] % part == 0 and shape[axis] > part:
            views = [address.viewed(in_parts, contiguous(in_parts), 0) for address in found]
            if all(view is not None and view.alone(axis + 1) is not None for view in views):
                return along_any_axis([view for view in views if view is not None])
    return [Address(a.buffer, (*a.shape, 1), a.offset, a.tables) for a in found]
