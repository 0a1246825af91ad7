"""Map the tokens of a window to the engine's lanes.

An image is cut at every multiple of the window and `split` pixels after it, so that a window, shifted or not, is
2 × 2 cells. The lanes of a window are its four cells one after the other, each row by row and filled up to a
multiple of 16.
"""

from __future__ import annotations

import numpy as np

CELL_LANES = 16  # the widest vector
LARGEST_WINDOW = 32


class WindowLanes:
    """Lanes of a window.

    Attributes:
        count: number of lanes, including the padding of cells.
        token_of_lane: (count,): the token of each, rows of the window one after the other; -1 for none.
        lane_of_token: (tokens,).
        regular: whether lanes can stand for tokens under a transform along tokens: as many, a power of two, and
            the bits of a token's number merely in another order.
    """

    def __init__(self, window: int, split: int, shifted: bool) -> None:
        self.cell = cell_lanes(window, split)
        sizes = (window - split, split) if shifted else (split, window - split)
        starts = (0, sizes[0])
        self.count = 4 * self.cell
        self.token_of_lane = np.full(self.count, -1)
        for number in range(4):
            row, column = divmod(number, 2)
            y, x = (axis.reshape(-1) for axis in np.mgrid[: sizes[row], : sizes[column]])
            tokens = (starts[row] + y) * window + starts[column] + x
            self.token_of_lane[number * self.cell : number * self.cell + len(tokens)] = tokens
        self.lane_of_token = np.empty(window**2, np.int64)
        lanes = np.flatnonzero(self.token_of_lane >= 0)
        self.lane_of_token[self.token_of_lane[lanes]] = lanes
        self.regular = self.count == window**2 and window & (window - 1) == 0 and 2 * split == window


def cell_lanes(window: int, split: int) -> int:
    """Return the lanes of a cell: the pixels of the largest, rounded up to whole vectors."""
    return -(-(max(split, window - split) ** 2) // CELL_LANES) * CELL_LANES
