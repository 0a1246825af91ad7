"""Attention and linear layers of any frozen network in integers, on tensors where they lie."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from compsrt_plugin.engine.attention import AttentionSizes, describe_operands
from compsrt_plugin.engine.fold import describe_linear, floats, signs_of
from compsrt_plugin.engine.tape import Traced
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import Level, loading
from compsrt_plugin.native import structures as c
from compsrt_plugin.native.loading import DONE
from compsrt_plugin.quant import Quantizer, QuantLinear
from compsrt_plugin.quant.transforms import TRANSFORMS

LANES = 64
"""Tokens that are worked on at once."""
FEWEST_TOKENS, MOST_TOKENS = 16, 1024
"""Queries and keys of a window: scores of one head and window take up to 4 MiB."""


class Operators:
    """The compiled operators with their threads and buffers; calls from several threads wait for each other.

    Args:
        level: of instructions.
        threads: how many to compute with.

    Attributes:
        spent: seconds in each operator since it was cleared.

    Raises:
        CompSRTError: not enough memory.
    """

    def __init__(self, level: Level, threads: int) -> None:
        self.level, self.threads = level, threads
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._process = 0
        self.spent: dict[str, float] = {}

    def run(self, name: str, *arguments: int) -> None:
        """Call an operator of the library with the addresses of its structures."""
        loaded = loading.library()
        assert loaded is not None
        with self._lock:
            status = DONE
            if self._process != os.getpid():  # threads are not inherited by a fork
                handle = ctypes.c_void_p()
                status = loaded.compsrt_operators_create(self.level.number, self.threads, ctypes.byref(handle))
                self._handle, self._process = handle.value, os.getpid()
            start = time.perf_counter()
            if status == DONE:
                status = getattr(loaded, f"compsrt_operators_{name}")(self._handle, *arguments)
            if status != DONE:
                raise CompSRTError("there is not enough memory for the integer operators", hint="use fewer threads")
            self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - start

    def linear(self, layer: c.Linear, x: Tensor) -> Tensor:
        """Return the layer's output (..., outputs) of x (..., inputs), float32 on the CPU."""
        shape = (*x.shape[:-1], layer.outputs)
        if isinstance(x, Traced):
            return x.tape.own(self.linear, (layer, x), torch.empty(shape, dtype=x.dtype, device="meta"))
        x = x.contiguous()
        out = x.new_empty(shape)
        if out.numel():
            call = c.RowsCall(
                rows=x.numel() // layer.inputs,
                channels=layer.inputs,
                x=c.Rows(data=x.data_ptr(), stride=layer.inputs, channel=1),
                y=c.Rows(data=out.data_ptr(), stride=layer.outputs, channel=1),
                linear=ctypes.addressof(layer),
            )
            self.run("rows", ctypes.addressof(call))
        return out

    def attention(
        self,
        described: Described,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        tables: Sequence[tuple[Tensor, Tensor]],
        factors: Tensor | None = None,
    ) -> Tensor:
        """Return softmax(scale factors q kᵀ + tables) v with all four operands quantized.

        Args:
            described: the quantizers.
            q, k, v: (..., queries or keys, head_dim) with any strides, float32 on the CPU.
            tables: at most two, as `score_tables` makes them, each with which of its matrices every problem has,
                int32 (problems,).
            factors: of every problem, float32 (problems,), or None.

        Returns:
            (..., queries, head_dim); in memory tokens come before the last leading axis, which usually counts heads.
        """
        *leading, tokens, channels = q.shape
        like = torch.empty(0, dtype=q.dtype, device="meta" if isinstance(q, Traced) else "cpu")
        if len(leading) > 1:
            *before, heads = leading
            out = like.new_empty(*before, tokens, heads, channels).movedim(-2, -3)
        else:
            out = like.new_empty(q.shape)
        if isinstance(q, Traced):
            return q.tape.own(self.attention, (described, q, k, v, tables, factors), out)
        problems = out.numel() // (tokens * channels)
        if not problems:
            return out
        call = attention_call(described, problems, tables, factors)
        for name, x in (("q", q), ("k", k), ("v", v), ("out", out)):
            setattr(call, name, _strided(x))
        self.run("attention", ctypes.addressof(described.attention), ctypes.addressof(call))
        return out

    def __del__(self) -> None:
        handle, loaded = getattr(self, "_handle", None), loading.library()
        if handle and loaded is not None and self._process == os.getpid():
            loaded.compsrt_operators_destroy(handle)


class Described:
    """Quantized attention as the compiled part takes it.

    Args:
        quantizers: of q, k, v and the map, those of which `why_not` has nothing to say.
        head_dim: channels of a head.
        queries, keys: tokens of a window that attend, and those that they attend to.
        level: of instructions.
        scale: of q kᵀ.
    """

    def __init__(
        self,
        quantizers: tuple[Quantizer | None, ...],
        head_dim: int,
        queries: int,
        keys: int,
        level: Level,
        scale: float,
    ) -> None:
        fields = describe_operands(
            quantizers, AttentionSizes(head_dim, queries, keys, in_lanes(keys)), level, scale=scale
        )
        self.integer_scores, self.integer_map = bool(fields["integer_scores"]), bool(fields["integer_map"])
        whole = self.integer_scores and self.integer_map
        self.lanes = in_lanes(queries) if whole else LANES
        self.attention = c.Attention(heads=1, lanes=self.lanes, lane_of_row=np.arange(keys, dtype=np.int32), **fields)
        self.queries, self.keys, self.head_dim = queries, keys, head_dim
        self.signs = {
            f"{name}_signs": floats(found) if (found := signs_of(quantizer, head_dim)).min() < 0 else None
            for name, quantizer in zip("qkv", quantizers)
        }
        self._no_table: Tensor | None = None

    def no_table(self, problems: int) -> tuple[Tensor, Tensor]:
        """Return a table that adds nothing."""
        if self._no_table is None:
            self._no_table = torch.zeros(self.keys * in_lanes(self.queries), dtype=torch.float32, device="cpu")
        return self._no_table, torch.zeros(problems, dtype=torch.int32, device="cpu")


def attention_call(
    described: Described,
    problems: int,
    tables: Sequence[tuple[Tensor, Tensor]],
    factors: Tensor | None = None,
    factor_of_q: float = 1.0,
) -> c.AttentionCall:
    """Return the arguments of the operator, without its operands.

    Args:
        described: the quantizers.
        problems: heads of windows.
        tables, factors: see `Operators.attention`.
        factor_of_q: by which q is multiplied first.
    """
    given = list(tables) or [described.no_table(problems)]
    (table, which), other = given[0], given[1] if len(given) > 1 else None
    signs = dict(described.signs)
    if factor_of_q != 1:
        own = signs["q_signs"]
        signs["q_signs"] = np.full(described.head_dim, factor_of_q, np.float32) * (1 if own is None else own)
    call = c.AttentionCall(
        problems=problems,
        **{name: None if values is None else floats(values) for name, values in signs.items()},
        table=table.data_ptr(),
        table_of=which.data_ptr(),
        other_table=None if other is None else other[0].data_ptr(),
        other_table_of=None if other is None else other[1].data_ptr(),
        factors=None if factors is None else factors.data_ptr(),
    )
    call.kept += [*given, factors]
    return call


def describe_layer(layer: QuantLinear, level: Level) -> c.Linear:
    """Describe a frozen linear layer; its weight stays in memory as codes alone."""
    described = describe_linear(layer, level)
    layer.forget_decoded()
    return described


def why_not_attention(quantizers: Sequence[Quantizer | None], tokens: tuple[int, int]) -> str | None:
    """Return why attention with these quantizers of q, k, v and the map cannot run in integers; None if it can.

    Args:
        quantizers: None keeps an operand in full precision.
        tokens: queries and keys of a window.
    """
    q, k, _, map_ = quantizers
    if any(x is not None and x.spec.codes != "strict" for x in quantizers):
        return "codes: paper"
    if any(x is not None and TRANSFORMS[x.spec.transform].compiled is None for x in quantizers):
        return "a transform that the operators lack"
    signed = [x is not None and x.spec.transform == "hadamard_signed" for x in (q, k, map_)]
    if signed[0] != signed[1] or signed[2]:
        return "hadamard_signed of one of q and k, or of the map"
    if not all(FEWEST_TOKENS <= count <= MOST_TOKENS for count in tokens):
        return f"windows of {tokens[0]} queries and {tokens[1]} keys"
    return None


def in_lanes(tokens: int) -> int:
    """Return the tokens of a window, rounded up to what is worked on at once."""
    return -(-tokens // LANES) * LANES


@lru_cache(maxsize=256)
def _begins(shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    offsets = np.zeros(1, np.int64)
    for size, stride in zip(shape, strides):
        offsets = (offsets[:, None] + np.arange(size, dtype=np.int64) * stride).reshape(-1)
    return offsets


def _strided(x: Tensor) -> c.Problems:
    begin = _begins(tuple(x.shape[:-2]), x.stride()[:-2])
    return c.Problems(data=x.data_ptr(), begin=begin, token=x.stride(-2), channel=x.stride(-1))
