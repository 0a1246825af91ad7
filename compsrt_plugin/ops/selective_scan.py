"""Selective scan, the recurrence of Mamba (Gu and Dao, arXiv 2312.00752, Algorithm 2), as an operator of torch.

    Δ_t = softplus(δ_t + bias)                     step sizes, one per channel
    h_t = exp(Δ_t A) ⊙ h_{t-1} + Δ_t u_t B_t       states, N per channel; h_0 = 0
    y_t = ⟨C_t, h_t⟩ + D u_t

`selective_scan` computes it
    with the compiled kernels (`native.scan`) on a CPU in float32 with 8 or 16 states;
    with mamba_ssm's `selective_scan_fn` on a GPU where that package is installed;
    with torch's own operations otherwise, in log2(l) parallel steps instead of l sequential ones.

`torch.ops.compsrt.selective_scan` is the registered operator behind the first and the last.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import scan as native
from compsrt_plugin.ops.registering import declare_once

_ARGUMENTS = "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor D, Tensor delta_bias"
_TAGS = (torch.Tag.pt2_compliant_tag,)
_CHUNK = 4096
"""Steps whose states are held at once where no gradient is asked for."""


def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Scan sequences of l steps, d channels and n states per channel.

    Args:
        u: inputs (b, l, d).
        delta: step sizes before bias and softplus (b, l, d).
        A: (d, n), negative for a stable recurrence.
        B: input projections (b, l, n).
        C: output projections (b, l, n).
        D: skip connection (d).
        delta_bias: (d).

    Returns:
        (b, l, d).

    Raises:
        CompSRTError: shapes that do not fit together.
    """
    _check_shapes(u, delta, A, B, C, D, delta_bias)
    if u.is_cuda and (theirs := _of_mamba_ssm()) is not None:
        channels_first = (x.transpose(1, 2) for x in (u, delta, B, C))
        u, delta, B, C = channels_first
        return theirs(u, delta, A, B, C, D, delta_bias=delta_bias, delta_softplus=True).transpose(1, 2)
    # a graph of torch's operations, for TorchScript or ONNX, can hold no operator of ours
    tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    run = in_torch if tracing or torch.onnx.is_in_onnx_export() else scan
    return run(u, delta, A, B, C, D, delta_bias)


def in_torch(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Return what `selective_scan` returns, in torch's own operations."""
    step = F.softplus(delta + delta_bias)
    outputs, last = [], None
    for begin in range(0, u.shape[1], _CHUNK):
        part = slice(begin, begin + _CHUNK)
        h = _states(*_decay_and_input(step[:, part], u[:, part], A, B[:, part]), last)
        outputs.append((h * C[:, part, None]).sum(-1))
        last = h[:, -1:]
    return ((torch.cat(outputs, 1) if outputs else torch.zeros_like(u)) + D * u).to(u.dtype)


def _decay_and_input(step: Tensor, u: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Return exp(Δ A) and Δ u B, each (b, l, d, n)."""
    return (step.unsqueeze(-1) * A).exp(), (step * u).unsqueeze(-1) * B.unsqueeze(2)


def _states(decay: Tensor, given: Tensor, before: Tensor | None = None) -> Tensor:
    """Return every h_t = decay_t h_{t-1} + given_t along axis 1, by doubling (Hillis and Steele, CACM 29, 1986).

    Args:
        decay, given: (b, l, …).
        before: the state before the first step (b, 1, …); None: 0.
    """
    if before is not None:
        given = torch.cat([given[:, :1] + decay[:, :1] * before, given[:, 1:]], 1)
    shift = 1
    while shift < given.shape[1]:
        given = torch.cat([given[:, :shift], given[:, shift:] + decay[:, shift:] * given[:, :-shift]], 1)
        decay = torch.cat([decay[:, :shift], decay[:, shift:] * decay[:, :-shift]], 1)
        shift *= 2
    return given


def gradients_in_torch(
    grad: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients by each of the seven arguments, in operations that torch can differentiate again.

    g_t, the gradient by h_t, follows the same recurrence backwards: g_t = grad_t C_t + exp(Δ_{t+1} A) g_{t+1}.
    """
    step = F.softplus(delta + delta_bias)
    decay, given = _decay_and_input(step, u, A, B)
    h = _states(decay, given)
    nothing = torch.zeros_like(h[:, :1])
    next_decay = torch.cat([decay[:, 1:], nothing], 1)
    g = _states(next_decay.flip(1), (grad.unsqueeze(-1) * C.unsqueeze(2)).flip(1)).flip(1)
    of_exponent = g * decay * torch.cat([nothing, h[:, :-1]], 1)
    of_input = (g * B.unsqueeze(2)).sum(-1)
    of_delta = ((of_exponent * A).sum(-1) + of_input * u) * torch.sigmoid(delta + delta_bias)
    return (
        grad * D + of_input * step,
        of_delta,
        (of_exponent * step.unsqueeze(-1)).sum((0, 1)),
        (g * (step * u).unsqueeze(-1)).sum(2),
        (grad.unsqueeze(-1) * h).sum(2),
        (grad * u).sum((0, 1)),
        of_delta.sum((0, 1)),
    )


@cache
def _of_mamba_ssm() -> Callable[..., Tensor] | None:
    """Return mamba_ssm's scan for GPUs, None where the package is not installed or does not load."""
    try:
        from mamba_ssm.ops.selective_scan_interface import (  # pyright: ignore[reportMissingImports]
            selective_scan_fn,
        )
    except (ImportError, OSError):  # OSError: compiled for another CUDA
        return None
    return selective_scan_fn


def _check_shapes(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> None:
    if u.ndim != 3 or A.ndim != 2:
        raise CompSRTError(
            f"selective_scan: u is {tuple(u.shape)}, A is {tuple(A.shape)}",
            allowed="(batch, length, channels) and (channels, states)",
        )
    (b, length, d), n = u.shape, A.shape[1]
    wanted = {"delta": (b, length, d), "A": (d, n), "B": (b, length, n), "C": (b, length, n)}
    wanted |= {"D": (d,), "delta_bias": (d,)}
    for (name, shape), tensor in zip(wanted.items(), (delta, A, B, C, D, delta_bias)):
        if tuple(tensor.shape) != shape:
            raise CompSRTError(
                f"selective_scan: {name} is {tuple(tensor.shape)}", allowed=f"{shape}, as u is {tuple(u.shape)}"
            )


def _forward(u: Tensor, delta: Tensor, A: Tensor, *others: Tensor) -> Tensor:
    run = native.selective_scan if native.can_scan(u, A, delta, *others) else in_torch
    return run(u, delta, A, *others).contiguous()


def _backward(grad: Tensor, u: Tensor, delta: Tensor, A: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    run = native.selective_scan_backward if native.can_scan(u, A, delta, grad, *others) else gradients_in_torch
    given = (u, delta, A, *others)
    return tuple(x.to(like.dtype).contiguous() for x, like in zip(run(grad, *given), given))


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    # with create_graph=True the gradients are differentiated in their turn
    run = gradients_in_torch if torch.is_grad_enabled() else scan_backward
    return tuple(run(grad, *ctx.saved_tensors))


def _declare(library: torch.library.Library) -> None:
    library.define(f"selective_scan({_ARGUMENTS}) -> Tensor", tags=_TAGS)
    seven = ", ".join(["Tensor"] * 7)
    library.define(f"selective_scan_backward(Tensor grad, {_ARGUMENTS}) -> ({seven})", tags=_TAGS)
    library.impl("selective_scan", _forward, "CompositeExplicitAutograd")
    library.impl("selective_scan_backward", _backward, "CompositeExplicitAutograd")
    torch.library.register_fake("compsrt::selective_scan", lambda u, *_: u.new_empty(u.shape), lib=library)
    torch.library.register_fake(
        "compsrt::selective_scan_backward", lambda _, *given: tuple(x.new_empty(x.shape) for x in given), lib=library
    )
    torch.library.register_autograd("compsrt::selective_scan", _differentiate, setup_context=_keep, lib=library)


declare_once("selective_scan", _declare)
scan = torch.ops.compsrt.selective_scan.default
scan_backward = torch.ops.compsrt.selective_scan_backward.default
