"""Which sums of products fit the integers in which a level of instructions sums them."""

from __future__ import annotations

import math

import numpy as np

from compsrt_plugin.engine.scale import Scale
from compsrt_plugin.engine.sparse import two_of_four
from compsrt_plugin.native import Level

INT16, INT32 = 2**15 - 1, 2**31 - 1
UPPER = 256  # weight of the upper part of a V of two parts, as in attention_codes-inl.h
SIGNED_BYTE = 127


def dots_fit(level: Level, q: Scale, k: Scale, columns: int) -> bool:
    """Return whether `level` sums products of codes of `q` and centred codes of `k` exactly.

    Each sum may begin with the whole correction for the centre of the codes of `q`.

    Args:
        level: of instructions.
        q, k: of the two operands.
        columns: how many products a sum has.
    """
    if not _takes(level, k.largest):
        return False
    return (q.top * _in_one_sum(level, columns) + int(q.centre) * columns) * k.largest <= _most(level)


def _takes(level: Level, largest_weight: int) -> bool:
    """Return whether there are products of bytes, and a weight fits them.

    Codes of at most 8 bits always do. `Level.code_shift` changes what a sum begins with and its terms, and so what it
    passes through; the 32-bit sums of such levels wrap, and end right.
    """
    return level.sum_bits > 0 and largest_weight <= SIGNED_BYTE


def _most(level: Level) -> int:
    """Return the largest number that one of the level's sums holds."""
    return 2 ** (level.sum_bits - 1) - 1


def _in_one_sum(level: Level, columns: int) -> int:
    """Return the number of products of a row that are added in one sum."""
    return -(-columns // 4) * level.products_per_sum


def weight_fits(level: Level, x: Scale, codes: np.ndarray) -> bool:
    """Return whether `level` sums the products of codes of `x` and a weight exactly: as `dots_fit`, knowing the weight.

    A sum, or a part of one, is farthest from its start with the largest code where weights have one sign and code 0
    elsewhere. The codes of `x` are summed by the same instructions.

    Args:
        level: of instructions.
        x: of the input.
        codes: of the weight, signed integers (rows, columns).
    """
    if not _takes(level, np.abs(codes).max(initial=0)):
        return False
    sums_per_four = 4 // level.products_per_sum
    fours = in_fours(codes).astype(np.int64).reshape(codes.shape[0], -1, sums_per_four, level.products_per_sum)
    products = x.top * _farthest(fours, axis=(1, 3)) + _start(x, codes)
    sums_of_codes = x.top * _in_one_sum(level, codes.shape[1]) + int(x.centre) * codes.shape[1]
    return max(products, sums_of_codes) <= _most(level)


def map_parts(level: Level, v: Scale, map_: Scale, channels: int, tokens: int, transform: str) -> int:
    """Return how many 16-bit matrices hold V if `level` sums the products of codes of the map and V exactly; 0 if not.

    V = H w (`attention_codes-inl.h`). A V of two parts is `UPPER` times one matrix plus another. Σ r'V is held in 32
    bits. The sum begins with the correction for the centre of the map's codes. Without a transform along tokens V is w.
    With it, Σ |V| ≤ √tokens ‖V‖ = tokens ‖w‖ ≤ tokens^1.5 max |w|. Half of the terms of V have a minus sign, except in
    its first coefficient, which `hadamard_softmax` leaves out. So |V| is at most tokens / 2 times the range of w, and
    that range is at most `channels` times the largest code.

    Args:
        level: of instructions.
        v, map_: of the two operands.
        channels: how many codes of v an element of w sums: 1 unless v is transformed along channels.
        tokens: of a window, the products in a sum.
        transform: of the map, along tokens.
    """
    if not level.sum_bits:
        return 0
    largest = channels * v.largest
    transformed = transform != "none"
    in_values = largest * tokens if transformed else largest
    if transform == "hadamard_softmax":
        in_values = min(in_values, -(-channels * v.top * tokens // 2))
    in_sums = largest * tokens * (math.isqrt(tokens - 1) + 1 if transformed else 1)
    parts = 1 if in_values <= INT16 else 2
    if parts == 2:
        in_sums += tokens * UPPER // 2  # the upper part is rounded
    fits = in_values <= UPPER * (INT16 - 1) and (map_.top + int(map_.centre)) * in_sums <= INT32
    return parts if fits else 0


def _farthest(weights: np.ndarray, axis: int | tuple[int, ...]) -> int:
    """Return the largest sum along `axis` of weights of one sign."""
    return int(max(np.maximum(weights, 0).sum(axis).max(initial=0), np.maximum(-weights, 0).sum(axis).max(initial=0)))


def _start(x: Scale, codes: np.ndarray) -> int:
    """Return the largest number that the sum of a row begins with."""
    return int(x.centre) * int(np.abs(codes.sum(1)).max(initial=0))


def sparse_weight(level: Level, x: Scale, codes: np.ndarray) -> np.ndarray | None:
    """Return a weight without the zeros of n:m pruning, where leaving them out is faster and sums still fit.

    VNNI takes four products in one instruction, zeros or not. AVX2 then sums a row in one 16-bit sum.

    Args:
        level, x, codes: as in `weight_fits`.

    Returns:
        `sparse.TWO_OF_FOUR` (rows, columns / 4, rounded up), or None.
    """
    if not level.sparse or x.top * _farthest(codes, axis=1) + _start(x, codes) > _most(level):
        return None
    return two_of_four(in_fours(codes))


def in_fours(codes: np.ndarray) -> np.ndarray:
    """Return int8 (rows, columns rounded up to 4), padded with zeros."""
    padded = np.zeros((codes.shape[0], -(-codes.shape[1] // 4) * 4), np.int8)
    padded[:, : codes.shape[1]] = codes
    return padded
