"""Compiled selective scan for CPUs, forward and backward; `ops.selective_scan` is the operator that calls it.

States stay in registers, eight channels to a vector. The backward pass keeps every 32nd state and makes the others
again, so it holds length / 32 states instead of all of them. Work is shared among threads by sequence and block of
eight channels.
"""

from __future__ import annotations

import ctypes
import logging
from functools import lru_cache

import torch
from torch import Tensor

from compsrt_plugin import native
from compsrt_plugin.source_folder import how_to_build

STATES = (8, 16)
"""How many states a channel may have; the kernels are compiled for each."""

_P, _I, _I64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_SIZES = [_I64, _I64, _I64, _I, _I]


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Return the compiled library; None, with a warning, where it was not built or is older than this file."""
    found = native.library()
    if found is None:
        return None
    try:
        found.compsrt_selective_scan.argtypes = [_P] * 8 + _SIZES
        found.compsrt_selective_scan_backward.argtypes = [_P] * 15 + _SIZES
    except AttributeError:
        logging.getLogger(__name__).warning("the compiled kernels have no selective scan; %s", how_to_build())
        return None
    return found


@torch.compiler.assume_constant_result
def _is_built() -> bool:
    return library() is not None


def usable(u: Tensor, A: Tensor, *others: Tensor) -> bool:
    """Tell whether the kernels can scan these tensors: float32 on a CPU, not empty, `STATES` states."""
    return (
        all(x.device.type == "cpu" and x.dtype == torch.float32 for x in (u, A, *others))
        and u.numel() > 0
        and A.shape[1] in STATES
        and _is_built()
    )


def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Return y (b, l, d); arguments as of `ops.selective_scan`, `usable`.

    Raises:
        CompSRTError: a tensor that the kernels cannot read.
    """
    y = torch.empty_like(u, memory_format=torch.contiguous_format)
    _call("compsrt_selective_scan", [y], u, delta, A, B, C, D, delta_bias)
    return y


def selective_scan_backward(
    grad: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of `selective_scan` by each of its seven arguments.

    Raises:
        CompSRTError: a tensor that the kernels cannot read.
        MemoryError: none is left for the states that are kept.
    """
    given = (u, delta, A, B, C, D, delta_bias)
    found = tuple(torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in given)
    _call("compsrt_selective_scan_backward", [grad.contiguous(), *found], *given)
    return found


def _call(name: str, first: list[Tensor], *given: Tensor) -> None:
    """Call a kernel.

    Args:
        name: of the function.
        first: its first arguments: what it writes, after the gradient of y if it reads one.
        given: u, delta, A, B, C, D and delta_bias.
    """
    loaded = library()
    assert loaded is not None, "asked for without a library"
    batch, length, channels = given[0].shape
    states = given[2].shape[1]
    steps = batch * length
    shaped_like_u, shaped_like_b = steps * channels, steps * states
    sizes = [shaped_like_u, shaped_like_u, channels * states, shaped_like_b, shaped_like_b, channels, channels]
    kept = [tensor.contiguous() for tensor in given]  # pointers do not keep them
    pointers = [native.pointer(tensor, size) for tensor, size in zip(first, [shaped_like_u, *sizes])]
    pointers += [native.pointer(tensor, size) for tensor, size in zip(kept, sizes)]
    threads = torch.get_num_threads() if steps * channels >= native.PARALLEL_FROM else 1
    if not getattr(loaded, name)(*pointers, batch, length, channels, states, threads):
        raise MemoryError(f"{name}: no memory for {length} steps of {batch * channels} channels")
