"""The structures that C++ and Python share, field by field; `layout` lists them as the library does.

`csrc/engine/network.h`, `csrc/kernels/` and `csrc/simd/levels.h` say what the fields mean.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

F32, I32, I64, POINTER = ctypes.c_float, ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p


def _all(kind: Any, *names: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, kind) for name in names)


class Integers(ctypes.Structure):
    """How a level sums products of bytes: see `table.h`."""

    _fields_ = _all(I32, "sum_bits", "products_per_sum", "code_shift", "sparse")


class Level(ctypes.Structure):
    """See `levels.h`."""

    _fields_ = (("name", ctypes.c_char_p), *_all(I32, "available", "conv_rows"), ("integers", Integers))


class FakeQuantize(ctypes.Structure):
    """See `fake_quantize.h`."""

    _fields_ = (
        ("rows", I64),
        *_all(I32, "width", "vectors", "transform", "invert"),
        *_all(POINTER, "signs", "scale", "zero_point"),
        *_all(I32, "per_row", "per_token"),
        ("top", F32),
        ("threads", I32),
    )


class FakeQuantizeGradients(ctypes.Structure):
    """See `fake_quantize.h`."""

    _fields_ = _all(POINTER, "x", "scale", "zero_point", "y")


class Scan(ctypes.Structure):
    """See `selective_scan.h`."""

    _fields_ = (
        *_all(POINTER, "u", "delta", "A", "B", "C", "D", "delta_bias"),
        *_all(I64, "batch", "length", "channels"),
        *_all(I32, "states", "threads"),
    )


class ScanGradients(ctypes.Structure):
    """See `selective_scan.h`."""

    _fields_ = _all(POINTER, "u", "delta", "A", "B", "C", "D", "delta_bias")


class Structure(ctypes.Structure):
    """A structure that keeps the targets of its pointers alive."""

    def __init__(self, **fields: Any) -> None:
        self.kept: list[Any] = []
        super().__init__()
        for name, value in fields.items():
            setattr(self, name, self._pointed(value))

    def _pointed(self, value: Any) -> Any:
        if isinstance(value, ctypes.Structure):
            self.kept.append(value)  # copied by value, but the targets of its pointers must stay alive
            return value
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            self.kept.append(value)
            return value.ctypes.data
        return value


class Quantizer(Structure):
    """See `network.h`."""

    _fields_ = (
        *_all(F32, "scale", "zero"),
        *_all(I32, "top", "transform", "width"),
        *_all(F32, "code_scale", "code_offset"),
        *_all(I32, "per_token", "centre"),
    )


class TwoOfFour(ctypes.Structure):
    """See `network.h`."""

    _fields_ = (("at", I32), ("weights", ctypes.c_int8 * 4))


class Linear(Structure):
    """See `network.h`."""

    _fields_ = (
        *_all(I32, "inputs", "outputs", "columns", "rows", "integer", "inverse"),
        ("input", Quantizer),
        *_all(POINTER, "signs", "kept_columns", "kept_rows", "weight", "codes", "sparse", "start"),
        *_all(POINTER, "alpha", "beta", "gamma", "bias"),
    )


class Attention(Structure):
    """See `network.h`."""

    _fields_ = (
        *_all(I32, "heads", "head_dim", "tokens", "keys", "key_lanes", "lanes"),
        *_all(Quantizer, "q", "k", "v", "map"),
        *_all(I32, "integer_scores", "integer_map"),
        *_all(POINTER, "lane_of_row", "bias"),
        *_all(F32, "alpha", "key_beta", "query_beta", "gamma"),
        *_all(F32, "out_alpha", "out_beta", "sum_alpha", "sum_beta", "first_alpha", "first_beta"),
        ("score_scale", F32),
    )


class Norm(Structure):
    """See `network.h`."""

    _fields_ = (*_all(POINTER, "weight", "bias"), ("epsilon", F32))


class Block(Structure):
    """See `network.h`."""

    _fields_ = (
        *_all(I32, "shifted", "hidden"),
        *_all(Norm, "norm1", "norm2"),
        *_all(Linear, "q", "k", "v", "proj", "fc1", "fc2"),
        ("attention", Attention),
    )


class Conv(Structure):
    """See `network.h`."""

    _fields_ = (*_all(I32, "inputs", "outputs"), ("slope", F32), *_all(POINTER, "weight", "bias"))


class Group(Structure):
    """See `network.h`."""

    _fields_ = (*_all(I32, "blocks", "convs"), *_all(POINTER, "block", "conv"))


class Network(Structure):
    """See `network.h`."""

    _fields_ = (
        *_all(I32, "channels", "in_channels", "window", "split", "lanes"),
        *_all(I32, "groups", "tail_convs", "scale", "out_channels"),
        *_all(POINTER, "group", "first", "tail", "upsample"),
        *_all(Norm, "patch_norm", "last_norm"),
        ("mean", POINTER),
        ("range", F32),
    )


class Problems(Structure):
    """See `operators.h`."""

    _fields_ = (*_all(POINTER, "data", "begin", "at", "table_of"), *_all(I64, "token", "channel"))


class Rows(Structure):
    """See `operators.h`."""

    _fields_ = (*_all(POINTER, "data", "at"), *_all(I64, "stride", "channel"))


class RowsCall(Structure):
    """See `operators.h`."""

    _fields_ = (
        ("rows", I64),
        *_all(I32, "channels", "activation"),
        *_all(Rows, "x", "residual", "y"),
        *_all(POINTER, "norm", "linear"),
    )


class MomentsCall(Structure):
    """See `operators.h`."""

    _fields_ = (("rows", I64), *_all(I32, "channels", "variance"), *_all(Rows, "x", "y"))


class ReductionCall(Structure):
    """See `operators.h`."""

    _fields_ = (*_all(I64, "groups", "rows"), *_all(I32, "channels", "root"), ("factor", F32), *_all(Rows, "x", "y"))


class ChannelOperand(Structure):
    """See `operators.h`."""

    _fields_ = (("x", Rows), *_all(POINTER, "divisor", "signs", "quantizer"))


class GramCall(Structure):
    """See `operators.h`."""

    _fields_ = (("rows", I64), *_all(I32, "heads", "channels"), *_all(ChannelOperand, "q", "k"), ("y", Rows))


class MixCall(Structure):
    """See `operators.h`."""

    _fields_ = (("rows", I64), *_all(I32, "heads", "channels"), ("map", POINTER), ("v", ChannelOperand), ("y", Rows))


class DepthwiseCall(Structure):
    """See `operators.h`."""

    _fields_ = (
        *_all(I32, "images", "height", "width", "channels", "kernel_height", "kernel_width", "dilation", "activation"),
        *_all(Rows, "x", "y"),
        *_all(POINTER, "weight", "bias"),
    )


class ConvolutionCall(Structure):
    """See `operators.h`."""

    _fields_ = (
        *_all(I32, "images", "height", "width", "inputs", "outputs", "blocks", "activation"),
        *_all(Rows, "x", "residual", "y"),
        *_all(POINTER, "weight", "bias"),
    )


class Instruction(ctypes.Structure):
    """See `operators.h`."""

    _fields_ = (*_all(I32, "operation", "to", "left", "right"), ("number", F32))


class ElementwiseCall(Structure):
    """See `operators.h`."""

    _fields_ = (
        ("rows", I64),
        *_all(I32, "channels", "inputs", "instructions", "result"),
        ("x", POINTER),
        ("y", Rows),
        ("program", POINTER),
    )


class AttentionCall(Structure):
    """See `operators.h`."""

    _fields_ = (
        ("problems", I32),
        *_all(Problems, "q", "k", "v", "out"),
        *_all(POINTER, "q_signs", "k_signs", "v_signs"),
        *_all(POINTER, "table", "other_table", "table_of", "other_table_of", "factors"),
    )


SHARED = (
    *(Integers, Level, FakeQuantize, FakeQuantizeGradients, Scan, ScanGradients),
    *(Quantizer, TwoOfFour, Linear, Attention, Norm, Block, Conv, Group, Network),
    *(Problems, Rows, RowsCall, MomentsCall, ReductionCall, ChannelOperand, GramCall, MixCall),
    *(DepthwiseCall, ConvolutionCall, Instruction, ElementwiseCall, AttentionCall),
)
"""In the order of `csrc/bindings/library.cpp`."""


def layout() -> str:
    """Return name, offset and bytes of each structure and each of its fields, one a line."""
    lines = []
    for kind in SHARED:
        lines.append(f"{kind.__name__} 0 {ctypes.sizeof(kind)}")
        for name in (field[0] for field in kind._fields_):
            place = getattr(kind, name)
            lines.append(f"{kind.__name__}.{name} {place.offset} {place.size}")
    return "".join(f"{line}\n" for line in lines)


def array_of(items: Sequence[Structure], owner: list[Any]) -> int | None:
    """Lay structures side by side, kept alive by `owner`, and return their address; None if there are none."""
    if not items:
        return None
    array = (type(items[0]) * len(items))(*items)
    owner += [array, *items]
    return ctypes.addressof(array)
