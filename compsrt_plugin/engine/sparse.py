"""Weights of n:m pruning: of every four neighbours in a row at most two are not zero, as in 2:4, 1:4 and 1:2."""

from __future__ import annotations

import numpy as np

PAIRS = ((0, 1), (2, 3), (0, 2), (1, 3), (0, 3), (1, 2))
"""Which two of four, in the order in which `csrc/kernels/sparse-inl.h` lays them out."""

TWO_OF_FOUR = np.dtype([("at", np.int32), ("weights", np.int8, 4)])
"""`TwoOfFour` in `csrc/engine/network.h`: 6 · group + number of the pair, and its two weights twice."""


def two_of_four(codes: np.ndarray) -> np.ndarray | None:
    """Return the nonzero weights of every four, as the engine multiplies them.

    Args:
        codes: int8 (rows, columns), columns a multiple of 4.

    Returns:
        `TWO_OF_FOUR` (rows, columns / 4); None if any group of four has more than two nonzero weights.
    """
    fours = codes.reshape(codes.shape[0], -1, 4)
    left = np.stack([np.delete(fours, pair, axis=2).any(axis=2) for pair in PAIRS])  # whether a pair leaves some out
    number = left.argmin(axis=0)  # the first pair that leaves none out
    if np.take_along_axis(left, number[None], axis=0).any():
        return None
    chosen = np.take_along_axis(fours, np.array(PAIRS)[number], axis=2)
    found = np.empty(number.shape, TWO_OF_FOUR)
    found["at"] = len(PAIRS) * np.arange(number.shape[1]) + number
    found["weights"] = np.tile(chosen, 2)
    return found
