"""The structures of `src/network.h`, field by field; `library` checks that both have the same sizes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

F32, I32, POINTER = ctypes.c_float, ctypes.c_int32, ctypes.c_void_p


class Structure(ctypes.Structure):
    """A structure that keeps alive what its pointers point to."""

    def __init__(self, **fields: Any) -> None:
        self.kept: list[Any] = []
        super().__init__()
        for name, value in fields.items():
            setattr(self, name, self._pointed(value))

    def _pointed(self, value: Any) -> Any:
        if isinstance(value, ctypes.Structure):
            self.kept.append(value)  # copied by value, but what it points to must stay
            return value
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            self.kept.append(value)
            return value.ctypes.data
        return value


class Quantizer(Structure):
    """See `network.h`."""

    _fields_ = (
        *((name, F32) for name in ("scale", "zero")),
        *((name, I32) for name in ("top", "transform", "width")),
        *((name, F32) for name in ("code_scale", "code_offset")),
        *((name, I32) for name in ("per_token", "centre")),
    )


class Linear(Structure):
    """See `network.h`."""

    _fields_ = (
        *((name, I32) for name in ("inputs", "outputs", "columns", "rows", "integer", "inverse")),
        ("input", Quantizer),
        *(
            (name, POINTER)
            for name in (
                *("signs", "kept_columns", "kept_rows", "weight", "codes", "sparse", "start"),
                *("alpha", "beta", "gamma", "bias"),
            )
        ),
    )


class Attention(Structure):
    """See `network.h`."""

    _fields_ = (
        *((name, I32) for name in ("heads", "head_dim", "tokens")),
        *((name, Quantizer) for name in ("q", "k", "v", "map")),
        *((name, I32) for name in ("integer_scores", "integer_map")),
        *((name, POINTER) for name in ("lane_of_row", "bias")),
        *((name, F32) for name in ("alpha", "key_beta", "query_beta", "gamma")),
        *((name, F32) for name in ("out_alpha", "out_beta", "sum_alpha", "sum_beta", "first_alpha", "first_beta")),
    )


class Norm(Structure):
    """See `network.h`."""

    _fields_ = (("weight", POINTER), ("bias", POINTER), ("epsilon", F32))


class Block(Structure):
    """See `network.h`."""

    _fields_ = (
        ("shifted", I32),
        ("hidden", I32),
        *((name, Norm) for name in ("norm1", "norm2")),
        *((name, Linear) for name in ("q", "k", "v", "proj", "fc1", "fc2")),
        ("attention", Attention),
    )


class Conv(Structure):
    """See `network.h`."""

    _fields_ = (("inputs", I32), ("outputs", I32), ("slope", F32), ("weight", POINTER), ("bias", POINTER))


class Group(Structure):
    """See `network.h`."""

    _fields_ = (("blocks", I32), ("convs", I32), ("block", POINTER), ("conv", POINTER))


class Network(Structure):
    """See `network.h`."""

    _fields_ = (
        *((name, I32) for name in ("channels", "in_channels", "window", "split", "lanes")),
        *((name, I32) for name in ("groups", "tail_convs", "scale", "out_channels")),
        *((name, POINTER) for name in ("group", "first", "tail", "upsample")),
        ("patch_norm", Norm),
        ("last_norm", Norm),
        ("mean", POINTER),
        ("range", F32),
    )


IN_ORDER = (Quantizer, Linear, Attention, Norm, Block, Conv, Group, Network)
"""As `compsrt_sizes` reports them."""


def array_of(items: Sequence[Structure], owner: list[Any]) -> int | None:
    """Lay structures side by side, kept alive by `owner`, and return their address; None if there are none."""
    if not items:
        return None
    array = (type(items[0]) * len(items))(*items)
    owner += [array, *items]
    return ctypes.addressof(array)
