"""Fake quantization and products of fake-quantized operands that keep nothing but their inputs for backward.

Written as one torch function after another, a product keeps five tensors of its operand's size: transformed, shifted,
rounded, decoded, and the mask of what was clipped. Here the operand itself is kept, which the network holds anyway, and
the rest is made again in backward, one pass over memory each way (`quant.operators`). The gradients are those of
`fake.StrictFakeQuantize`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from compsrt_plugin.quant import operators
from compsrt_plugin.quant.precision import without_autocast


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
    return _FakeQuantize.apply(*operand)


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
    """The operator once more, for functorch: the gradient that torch gives a registered operator is not for it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        return operators.fake_quantize(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        operators.keep(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return operators.differentiate(ctx, *grads)


class _Product(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        *operands, bias, left_how, right_how, transposed = arguments
        left, right = _quantized(operands[:3], left_how), _quantized(operands[3:], right_how)
        if transposed:
            right = right.transpose(-2, -1)
        return left @ right if bias is None else torch.addmm(bias, left, right)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *operands, _bias, ctx.left, ctx.right, ctx.transposed = inputs
        ctx.save_for_backward(*operands)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(grads[0]):  # on if `backward` is called within it
            return _Product._gradients_of_operands(ctx, grads[0])

    @staticmethod
    def _gradients_of_operands(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: a checkpoint computes them again at each look
        of_left, of_right = saved[:3], saved[3:]
        wants_right = any(ctx.needs_input_grad[3:6])
        right = _quantized(of_right, ctx.right)
        wanted = grad @ (right if ctx.transposed else right.transpose(-2, -1))
        *found, left = _gradients(wanted, of_left, ctx.left, wants_right)
        del right, wanted
        if wants_right:
            wanted = grad.transpose(-2, -1) @ left if ctx.transposed else left.transpose(-2, -1) @ grad
            del left
            found += _gradients(wanted, of_right, ctx.right, again=False)[:3]
        else:
            found += [None, None, None]
        of_bias = grad.sum(0) if ctx.needs_input_grad[6] else None
        return (*found, of_bias, None, None, None)


def _quantized(operand: Any, how: tuple[Any, ...]) -> Tensor:
    x, scale, zero_point = operand
    return x if scale is None else operators.fake_quantize(x, scale, zero_point, *how)


def _gradients(grad: Tensor, operand: Any, how: tuple[Any, ...], again: bool) -> tuple[Any, Any, Any, Any]:
    """Return the gradients of an operand and its quantizer, and if asked the quantized operand once more."""
    x, scale, zero_point = operand
    if scale is None:
        return grad, None, None, x
    return operators.gradients(grad, x, scale, zero_point, *how, again=again)
