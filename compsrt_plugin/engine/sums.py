"""Which sums of products fit the integers that a level of instructions sums them in."""

from __future__ import annotations

import math

import numpy as np

from compsrt_plugin.engine.scale import Scale
from compsrt_plugin.engine.sparse import two_of_four

INT16, INT32 = 2**15 - 1, 2**31 - 1
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
    in_one_sum, most = _sum_of(level, columns)
    return (q.top * in_one_sum + int(q.centre) * columns) * k.largest <= most


def _sum_of(level: str, columns: int) -> tuple[int, int]:
    """Return how many of a row's products `level` adds up in one integer, and the largest that this integer holds."""
    in_fours = -(-columns // 4) * 4
    return (in_fours // 2, INT16) if level == "avx2" else (in_fours, INT32)


def weight_fits(level: str, x: Scale, codes: np.ndarray) -> bool:
    """Whether `level` sums the products of codes of `x` and a weight exactly: as `dots_fit`, knowing the weight.

    No sum, and no part of one, is further from its start than with the largest code where weights have one sign and 0
    elsewhere. The codes of `x` are summed by the same instructions.

    Args:
        level: of instructions.
        x: of the input.
        codes: of the weight, signed integers (rows, columns).
    """
    if level == "plain" or np.abs(codes).max(initial=0) > SIGNED_BYTE:
        return False
    in_one_sum, most = _sum_of(level, codes.shape[1])
    fours = in_fours(codes).astype(np.int64).reshape(codes.shape[0], -1, 2, 2)  # AVX2 sums pairs of neighbours apart
    products = x.top * _farthest(fours, axis=(1, 3) if level == "avx2" else (1, 2, 3)) + _start(x, codes)
    sums_of_codes = x.top * in_one_sum + int(x.centre) * codes.shape[1]
    return max(products, sums_of_codes) <= most


def map_fits(level: str, v: Scale, map_: Scale, channels: int, tokens: int, transformed: bool) -> bool:
    """Whether `level` sums the products of codes of the map and V exactly.

    V = H w of `attention_codes.h` is held in 16 bits, Σ r'V in 32, beginning with what centring the map's codes takes
    off. Without a transform along tokens V is w. With it, Σ |V| ≤ √tokens ‖V‖ = tokens ‖w‖ ≤ tokens^1.5 max |w|.

    Args:
        level: of instructions.
        v, map_: of the two operands.
        channels: how many codes of v an element of w sums: 1 unless v is transformed along channels.
        tokens: of a window, the products in a sum.
        transformed: whether the map is, along tokens.
    """
    if level == "plain":
        return False
    largest = channels * v.largest
    in_values = largest * tokens if transformed else largest
    in_sums = largest * tokens * (math.isqrt(tokens - 1) + 1 if transformed else 1)
    return in_values <= INT16 and (map_.top + int(map_.centre)) * in_sums <= INT32


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
