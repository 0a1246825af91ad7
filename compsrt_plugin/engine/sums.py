"""Which sums of products fit the integers that a level of instructions sums them in."""

from __future__ import annotations

import numpy as np

from compsrt_plugin.engine.scale import Scale
from compsrt_plugin.engine.sparse import two_of_four

INT16 = 2**15 - 1
SIGNED_BYTE = 127


def dots_fit(level: str, q: Scale, k: Scale, columns: int) -> bool:
    """Whether `level` sums products of codes of `q` and centred codes of `k` exactly.

    AVX-512 VNNI sums in 32 bits; AVX2 sums two products of every four columns in one 16-bit lane, and begins one of
    them with what centring the codes of `q` takes off.

    Args:
        level: of instructions.
        q, k: of the two operands.
        columns: how many products a sum has.
    """
    if level == "plain" or k.largest > SIGNED_BYTE:
        return False
    in_one_lane = 2 * -(-columns // 4)
    return level == "avx512" or (q.top * in_one_lane + int(q.centre) * columns) * k.largest <= INT16


def weight_fits(level: str, x: Scale, codes: np.ndarray) -> bool:
    """Whether `level` sums the products of codes of `x` and a weight exactly: as `dots_fit`, knowing the weight.

    No sum, and no part of one, is further from its start than with the largest code where weights have one sign and 0
    elsewhere.

    Args:
        level: of instructions.
        x: of the input.
        codes: of the weight, signed integers (rows, columns).
    """
    if level == "plain" or np.abs(codes).max(initial=0) > SIGNED_BYTE:
        return False
    if level == "avx512":
        return True
    fours = in_fours(codes).astype(np.int64).reshape(codes.shape[0], -1, 2, 2)
    products = x.top * _farthest(fours, axis=(1, 3)) + _start(x, codes)
    sums_of_codes = x.top * 2 * fours.shape[1] + int(x.centre) * codes.shape[1]
    return max(products, sums_of_codes) <= INT16


def _farthest(weights: np.ndarray, axis: int | tuple[int, ...]) -> int:
    """Return the largest sum along `axis` of weights of one sign."""
    return int(max(np.maximum(weights, 0).sum(axis).max(initial=0), np.maximum(-weights, 0).sum(axis).max(initial=0)))


def _start(x: Scale, codes: np.ndarray) -> int:
    """Return the largest number that the sum of a row begins with."""
    return int(x.centre) * int(np.abs(codes.sum(1)).max(initial=0))


def sparse_weight(level: str, x: Scale, codes: np.ndarray) -> np.ndarray | None:
    """Return a weight without the zeros of n:m pruning, where leaving them out is faster and sums still fit.

    AVX-512 takes four products in one instruction, zeros or not; AVX2 then sums a row in one 16-bit lane.

    Args:
        level, x, codes: as in `weight_fits`.

    Returns:
        `sparse.TWO_OF_FOUR` (rows, columns / 4, rounded up), or None.
    """
    if level != "avx2" or x.top * _farthest(codes, axis=1) + _start(x, codes) > INT16:
        return None
    return two_of_four(in_fours(codes))


def in_fours(codes: np.ndarray) -> np.ndarray:
    """Return int8 (rows, columns rounded up to 4), zeros behind."""
    padded = np.zeros((codes.shape[0], -(-codes.shape[1] // 4) * 4), np.int8)
    padded[:, : codes.shape[1]] = codes
    return padded
