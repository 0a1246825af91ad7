"""Fake quantization and products of fake-quantized operands that keep nothing but their inputs for backward.

Written as one torch function after another, a product keeps five tensors of its operand's size: transformed, shifted,
rounded, decoded, and the mask of what was clipped. Here the operand itself is kept, which the network holds anyway, and
the rest is made again in backward, one pass over memory each way (`compsrt_plugin.native`). The gradients are those of
`fake.StrictFakeQuantize`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from compsrt_plugin import native


class Operand(NamedTuple):
    """One operand and how it is quantized.

    Attributes:
        x: (..., d).
        scale, zero_point: s and Z, () or (rows, 1); None if x is taken as it is.
        top: the largest code.
        transform: name of the transform before quantization.
        invert: whether the quantized operand is transformed back.
        per_token: whether scale and zero point are in units of each vector's largest magnitude.
    """

    x: Tensor
    scale: Tensor | None = None
    zero_point: Tensor | None = None
    top: int = 0
    transform: str = "none"
    invert: bool = True
    per_token: bool = False


def fake_quantize(operand: Operand) -> Tensor:
    """Return xhat of a quantized operand: (..., d), or (..., m) if it is transformed and not taken back."""
    x, scale, zero_point, *how = operand
    return _FakeQuantize.apply(x, scale, zero_point, *how)


def product(left: Operand, right: Operand, transposed: bool, bias: Tensor | None = None) -> Tensor:
    """Return left @ right^T (`transposed`) or left @ right of the quantized operands, plus a bias.

    Args:
        left: (..., n, k).
        right: (..., m, k) if `transposed`, else (..., k, m); same leading axes.
        transposed: which axis of `right` is contracted.
        bias: (m,), of matrices only.

    Returns:
        (..., n, m).
    """
    return _Product.apply(*left[:3], *right[:3], bias, left[3:], right[3:], transposed)


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, *how: Any) -> Tensor:
        ctx.save_for_backward(x, scale, zero_point)
        ctx.how = how
        return native.fake_quantize(x, scale, zero_point, *how)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found = native.fake_quantize_backward(grads[0], *ctx.saved_tensors, *ctx.how)
        return (*found, None, None, None, None)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *operands, bias, ctx.left, ctx.right, ctx.transposed = arguments
        ctx.save_for_backward(*operands)
        left, right = _quantized(operands[:3], ctx.left), _quantized(operands[3:], ctx.right)
        if ctx.transposed:
            right = right.transpose(-2, -1)
        return left @ right if bias is None else torch.addmm(bias, left, right)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        saved = ctx.saved_tensors  # once: a checkpoint computes them again at each look
        of_left, of_right = saved[:3], saved[3:]
        wants_right = any(ctx.needs_input_grad[3:6])
        right = _quantized(of_right, ctx.right)
        wanted = grad @ (right if ctx.transposed else right.transpose(-2, -1))
        found, left = _gradients(wanted, of_left, ctx.left, wants_right)
        del right, wanted
        if wants_right:
            wanted = grad.transpose(-2, -1) @ left if ctx.transposed else left.transpose(-2, -1) @ grad
            del left
            found += _gradients(wanted, of_right, ctx.right, again=False)[0]
        else:
            found += (None, None, None)
        of_bias = grad.sum(0) if ctx.needs_input_grad[6] else None
        return (*found, of_bias, None, None, None)


def _quantized(operand: Any, how: tuple[Any, ...]) -> Tensor:
    x, scale, zero_point = operand
    return x if scale is None else native.fake_quantize(x, scale, zero_point, *how)


def _gradients(grad: Tensor, operand: Any, how: tuple[Any, ...], again: bool) -> tuple[tuple[Tensor | None, ...], Any]:
    """Return the gradients of an operand and its quantizer, and if asked the quantized operand once more."""
    x, scale, zero_point = operand
    if scale is None:
        return (grad, None, None), x
    quantized = torch.empty_like(grad, memory_format=torch.contiguous_format) if again else None
    return native.fake_quantize_backward(grad, x, scale, zero_point, *how, again=quantized), quantized
