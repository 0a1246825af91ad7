"""Levels: the instruction sets for which the compiled library has kernels."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import lru_cache

from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.native import loading, structures
from compsrt_plugin.source_folder import how_to_build

LEVEL_VARIABLE = "COMPSRT_ENGINE_LEVEL"
"""Environment variable: the name of the level to use instead of the best one."""


@dataclass(frozen=True)
class Level:
    """A set of instructions.

    Attributes:
        name: `avx512`, `avx512bw`, `avxvnni`, `avx2`, `neon` or `plain`.
        sum_bits: of the integers that sum products of bytes; 0 where the level has no such products.
        products_per_sum: how many of every four neighbouring products in a row are added up in one such integer.
        code_shift: subtracted from codes before such a product: 128 where it takes signed bytes, else 0.
        sparse: whether products that leave out zeros are faster.
        conv_rows: output channels that a convolution computes at a time.
        number: of the level in the library.
    """

    name: str
    sum_bits: int
    products_per_sum: int
    code_shift: int
    sparse: bool
    conv_rows: int = 1
    number: int = -1


def levels() -> tuple[Level, ...]:
    """Return the levels that this processor can use, best first; none without a library."""
    loaded = loading.library()
    return () if loaded is None else _usable(loaded)


@lru_cache(maxsize=1)
def _usable(loaded: ctypes.CDLL) -> tuple[Level, ...]:
    table = (structures.Level * loaded.compsrt_levels(None))()
    loaded.compsrt_levels(table)
    return tuple(
        Level(
            entry.name.decode(),
            entry.integers.sum_bits,
            entry.integers.products_per_sum,
            entry.integers.code_shift,
            bool(entry.integers.sparse),
            entry.conv_rows,
            number,
        )
        for number, entry in enumerate(table)
        if entry.available
    )


def level() -> Level:
    """Return the level in use: the one that `COMPSRT_ENGINE_LEVEL` names, or the best.

    Raises:
        CompSRTError: there is no library, or this processor cannot use the level named.
    """
    return _named(os.environ.get(LEVEL_VARIABLE, ""), levels())


@lru_cache
def _named(wanted: str, found: tuple[Level, ...]) -> Level:
    if not found:
        raise CompSRTError(loading.missing(), hint=how_to_build())
    if not wanted:
        return found[0]
    for level in found:
        if level.name == wanted:
            return level
    raise unknown_name(f"level in {LEVEL_VARIABLE}:", wanted, [level.name for level in found])
