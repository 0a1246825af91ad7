"""Fake quantization between two transforms, as operators of torch.

    torch.ops.compsrt.fake_quantize            xhat of x, transformed before and, with `invert`, back after
    torch.ops.compsrt.fake_quantize_backward   its gradients, which recompute everything from x; only in the kernels

This module alone decides between the compiled kernels (float32 on a CPU) and the same arithmetic in torch. The
registration tells torch the shapes for tracers and fake tensors, and the gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from compsrt_plugin import native
from compsrt_plugin.ops.registering import declare_once
from compsrt_plugin.quant.fake import largest_magnitude, strict_fake_quantize, strict_gradients
from compsrt_plugin.quant.transforms import TRANSFORMS

_ARGUMENTS = "Tensor x, Tensor scale, Tensor zero_point, int top, str transform, bool invert, bool per_token"
_recorders = 0  # contexts of `any_width` that are open; torch.compile cannot trace a ContextVar
_counting = Lock()
_TAGS = (torch.Tag.pt2_compliant_tag,)


def fit(x: Tensor, transform: str, invert: bool) -> bool:
    """Return whether the operators are the faster way to quantize x; on other devices torch's own operations are.

    Also return False while a graph for ONNX or TorchScript is recorded, which cannot hold an operator of ours.
    """
    domain = TRANSFORMS[transform]
    whole = invert or not domain.unit_rows  # for unit rows the kernels only compute the whole way
    tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    if not whole or tracing or torch.onnx.is_in_onnx_export():
        return False
    return native.usable(x, domain) or (_recorders > 0 and invert)


@contextmanager
def any_width() -> Iterator[None]:
    """Let quantizers of any width be one operator, for a recorder of operators that has kernels of its own.

    It holds for all threads. Where the kernels lack a width, the operator computes the same values in torch.
    """
    global _recorders
    with _counting:
        _recorders += 1
    try:
        yield
    finally:
        with _counting:
            _recorders -= 1


def in_torch(
    x: Tensor, scale: Tensor, zero_point: Tensor, top: int, transform: str, invert: bool, per_token: bool
) -> Tensor:
    """Return what `fake_quantize` returns, in torch's own operations; arguments as in `quantized_product.Operand`."""
    domain = TRANSFORMS[transform]
    values = domain.forward(x)
    if per_token:
        unit = largest_magnitude(values)
        scale, zero_point = scale * unit, zero_point * unit
    quantized = strict_fake_quantize(values, scale, zero_point, top)
    return domain.inverse(quantized, x.shape[-1]) if invert else quantized


def _forward(
    x: Tensor, scale: Tensor, zero_point: Tensor, top: int, transform: str, invert: bool, per_token: bool
) -> Tensor:
    domain = TRANSFORMS[transform]
    if native.usable(x, domain, scale, zero_point):
        return native.fake_quantize(x, scale, zero_point, top, domain, invert, per_token)
    return in_torch(x, scale, zero_point, top, transform, invert, per_token).contiguous()


def _shape(
    x: Tensor, scale: Tensor, zero_point: Tensor, top: int, transform: str, invert: bool, per_token: bool
) -> Tensor:
    width = x.shape[-1]
    return x.new_empty(*x.shape[:-1], width if invert else TRANSFORMS[transform].width(int(width)))


def _backward(
    grad: Tensor,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    top: int,
    transform: str,
    invert: bool,
    per_token: bool,
    again: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    output = torch.empty_like(grad, memory_format=torch.contiguous_format) if again else None
    domain = TRANSFORMS[transform]
    found = native.fake_quantize_backward(grad, x, scale, zero_point, top, domain, invert, per_token, output)
    return (*found, x.new_empty(0) if output is None else output)


def _shapes_of_gradients(
    grad: Tensor, x: Tensor, scale: Tensor, zero_point: Tensor, *how: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    again = grad.shape if how[-1] else (0,)
    of_scale, of_zero = scale.new_empty(scale.shape), zero_point.new_empty(zero_point.shape)
    return x.new_empty(x.shape), of_scale, of_zero, x.new_empty(again)


def gradients(
    grad: Tensor, x: Tensor, scale: Tensor, zero_point: Tensor, *how: Any, again: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the gradients of `fake_quantize` by x, scale and zero point; called from a backward pass.

    With `create_graph=True` they are differentiable: they then come from torch's own operations, as they do wherever
    there is no kernel.

    Args:
        grad: of the output, and of its shape.
        x, scale, zero_point, *how: what `fake_quantize` was given.
        again: whether to return the output too.

    Returns:
        Gradients of the shapes of x, scale and zero point, and the output or None.
    """
    grad = grad.to(x.dtype)
    if torch.is_grad_enabled() or not native.usable(x, TRANSFORMS[how[1]], scale, zero_point):
        found = _gradients_in_torch(grad, x, scale, zero_point, *how)
        return (*found, in_torch(x, scale, zero_point, *how) if again else None)
    *found, output = fake_quantize_backward(grad, x, scale, zero_point, *how, again)
    return (*found, output if again else None)


def _gradients_in_torch(
    grad: Tensor, x: Tensor, scale: Tensor, zero_point: Tensor, top: int, transform: str, invert: bool, per_token: bool
) -> tuple[Tensor, Tensor, Tensor]:
    forward, inverse = TRANSFORMS[transform].forward, TRANSFORMS[transform].inverse
    values = forward(x)
    unit = largest_magnitude(values) if per_token else 1.0
    grad = forward(grad) if invert else grad  # each matrix is the transpose of the other
    of_values, of_scale, of_zero = strict_gradients(grad, values, scale * unit, zero_point * unit, top)
    constant = inverse(torch.zeros_like(values), x.shape[-1])  # the offset of an inverse has no gradient
    return (
        inverse(of_values, x.shape[-1]) - constant,
        (of_scale * unit).sum_to_size(scale.shape),
        (of_zero * unit).sum_to_size(zero_point.shape),
    )


def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Save the arguments of `fake_quantize` for `differentiate`."""
    x, scale, zero_point, *ctx.how = inputs
    ctx.save_for_backward(x, scale, zero_point)


def differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of `fake_quantize` with respect to each of its arguments."""
    return (*gradients(grad, *ctx.saved_tensors, *ctx.how)[:3], None, None, None, None)


def _declare(library: torch.library.Library) -> None:
    library.define(f"fake_quantize({_ARGUMENTS}) -> Tensor", tags=_TAGS)
    library.define(
        f"fake_quantize_backward(Tensor grad, {_ARGUMENTS}, bool again) -> (Tensor, Tensor, Tensor, Tensor)", tags=_TAGS
    )
    library.impl("fake_quantize", _forward, "CompositeExplicitAutograd")
    library.impl("fake_quantize_backward", _backward, "CPU")
    torch.library.register_fake("compsrt::fake_quantize", _shape, lib=library)
    torch.library.register_fake("compsrt::fake_quantize_backward", _shapes_of_gradients, lib=library)
    torch.library.register_autograd("compsrt::fake_quantize", differentiate, setup_context=keep, lib=library)


declare_once("fake_quantize", _declare)
fake_quantize = torch.ops.compsrt.fake_quantize.default
fake_quantize_backward = torch.ops.compsrt.fake_quantize_backward.default
