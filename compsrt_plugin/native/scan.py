"""Compiled selective scan for CPUs, forward and backward; `ops.selective_scan` is the operator that calls it.

States stay in registers, eight channels to a vector. The backward pass keeps every 32nd state and recomputes the
others, so it holds length / 32 states. Threads share the work by sequence and block of eight channels.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from compsrt_plugin.native import structures
from compsrt_plugin.native.arguments import pointer, readable, threads_for
from compsrt_plugin.native.kernels import call
from compsrt_plugin.native.loading import is_built

STATES = (8, 16)
"""Numbers of states per channel for which the kernels are compiled."""


def can_scan(u: Tensor, A: Tensor, *others: Tensor) -> bool:
    """Return whether the kernels can scan these tensors: float32 on a CPU, not empty, `STATES` states."""
    return all(readable(x) for x in (u, A, *others)) and u.numel() > 0 and A.shape[1] in STATES and is_built()


def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Return y (b, l, d); arguments as of `ops.selective_scan`, see `can_scan`.

    Raises:
        CompSRTError: a tensor that the kernels cannot read.
    """
    y = torch.empty_like(u, memory_format=torch.contiguous_format)
    given = [tensor.contiguous() for tensor in (u, delta, A, B, C, D, delta_bias)]
    how, sizes = _described(given)
    call("selective_scan", how, pointer(y, sizes[0]))
    return y


def selective_scan_backward(
    grad: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of `selective_scan` by each of its seven arguments.

    Raises:
        CompSRTError: a tensor that the kernels cannot read.
        MemoryError: none is left for the states that are kept.
    """
    grad, *given = (tensor.contiguous() for tensor in (grad, u, delta, A, B, C, D, delta_bias))
    found = tuple(torch.empty_like(tensor) for tensor in given)
    how, sizes = _described(given)
    to = structures.ScanGradients(*map(pointer, found, sizes))
    call("selective_scan_backward", how, pointer(grad, sizes[0]), ctypes.byref(to))
    return found


def _described(given: list[Tensor]) -> tuple[structures.Scan, list[int]]:
    """Return the kernel's arguments for u, delta, A, B, C, D and delta_bias, and the number of values of each.

    It holds addresses, so the tensors must outlive it.
    """
    batch, length, channels = given[0].shape
    states = given[2].shape[1]
    like_u, like_b = batch * length * channels, batch * length * states
    sizes = [like_u, like_u, channels * states, like_b, like_b, channels, channels]
    addresses = map(pointer, given, sizes)
    return structures.Scan(*addresses, batch, length, channels, states, threads_for(like_u)), sizes
