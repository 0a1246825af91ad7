"""Fake quantization, and products of fake-quantized operands, that save only their inputs for backward.

As a sequence of torch functions, a product saves five tensors of the size of its operand: transformed, shifted,
rounded, decoded, and the mask of clipped elements. These functions save the operand, which the network holds anyway,
and recompute the rest in backward (`ops.fake_quantize`). Their gradients are those of `quant.fake.StrictFakeQuantize`.

    torch.ops.compsrt.quantized_product   the registered operator behind `multiply`
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from compsrt_plugin.ops import fake_quantize as operators
from compsrt_plugin.ops.registering import declare_once
from compsrt_plugin.quant.precision import without_autocast
from compsrt_plugin.quant.transforms import TRANSFORMS


class Operand(NamedTuple):
    """One operand and how it is quantized.

    Attributes:
        x: (..., d).
        scale, zero_point: s and Z, () or (rows, 1); None if x is not quantized.
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


def fake_quantized(operand: Operand) -> Tensor:
    """Return xhat of a quantized operand: (..., d), or (..., m) if it stays transformed."""
    if not _fits(operand):
        return _in_torch(operand)
    # Dynamo does not trace functions of autograd within a `TorchFunctionMode`; functorch takes nothing else.
    return operators.fake_quantize(*operand) if torch.compiler.is_compiling() else _FakeQuantize.apply(*operand)


def multiply(left: Operand, right: Operand, transposed: bool, bias: Tensor | None = None) -> Tensor:
    """Return left @ right^T (`transposed`) or left @ right of the quantized operands, plus a bias.

    Args:
        left: (..., n, k).
        right: (..., m, k) if `transposed`, else (..., k, m); same leading axes, or none.
        transposed: which axis of `right` is contracted.
        bias: (m,), with a `right` without leading axes.

    Returns:
        (..., n, m).
    """
    is_matrix = right.x.ndim == 2
    if not (_fits(left) and _fits(right)):
        x, y = _in_torch(left), _in_torch(right)
        return F.linear(x, y, bias) if is_matrix and transposed else _multiplied(x, y, bias, transposed)
    apply = quantized_product if torch.compiler.is_compiling() else _Product.apply
    if not is_matrix:
        return apply(*left, *right, bias, transposed)
    rows = left._replace(x=left.x.reshape(-1, left.x.shape[-1]))
    output = apply(*rows, *right, bias, transposed)
    return output.view(*left.x.shape[:-1], output.shape[-1])


def _in_torch(operand: Any) -> Tensor:
    return operand.x if operand.scale is None else operators.in_torch(*operand)


def _fits(operand: Operand) -> bool:
    return operand.scale is None or operators.fit(operand.x, operand.transform, operand.invert)


class _FakeQuantize(torch.autograd.Function):
    """The operator for functorch, which does not take the gradient of a registered operator."""

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
    """As `_FakeQuantize`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        return quantized_product(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _keep(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _differentiate(ctx, *grads)


_WIDTH = len(Operand._fields)


def _operands(arguments: tuple[Any, ...]) -> tuple[Operand, Operand, Tensor | None, bool]:
    return Operand(*arguments[:_WIDTH]), Operand(*arguments[_WIDTH : 2 * _WIDTH]), *arguments[2 * _WIDTH :]


def _values(operand: Operand) -> Tensor:
    return operand.x if operand.scale is None else operators.fake_quantize(*operand)


def _multiplied(left: Tensor, right: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    if transposed:
        right = right.transpose(-2, -1)
    return left @ right if bias is None else torch.addmm(bias, left, right)


def _forward(*arguments: Any) -> Tensor:
    left, right, bias, transposed = _operands(arguments)
    return _multiplied(_values(left), _values(right), bias, transposed)


def _shape(*arguments: Any) -> Tensor:
    left, right, _, transposed = _operands(arguments)
    columns = right.x.shape[-2] if transposed else _width_out(right)
    return left.x.new_empty(*left.x.shape[:-1], columns)


def _width_out(operand: Operand) -> int:
    width = operand.x.shape[-1]
    return width if operand.scale is None or operand.invert else TRANSFORMS[operand.transform].width(int(width))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    left, right, _, ctx.transposed = _operands(inputs)
    ctx.left, ctx.right = left[3:], right[3:]
    ctx.save_for_backward(*left[:3], *right[:3])


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    with without_autocast(grad):  # on if `backward` is called inside autocast
        saved = ctx.saved_tensors  # read once: a checkpoint recomputes them at each access
        left, right = Operand(*saved[:3], *ctx.left), Operand(*saved[3:], *ctx.right)
        wants_right = any(ctx.needs_input_grad[_WIDTH : _WIDTH + 3])
        right_values = _values(right)
        wanted = grad @ (right_values if ctx.transposed else right_values.transpose(-2, -1))
        *of_left, left_values = _gradients(wanted, left, wants_right)
        del right_values, wanted
        of_right: list[Tensor | None] = [None, None, None]
        if wants_right:
            wanted = grad.transpose(-2, -1) @ left_values if ctx.transposed else left_values.transpose(-2, -1) @ grad
            del left_values
            of_right = list(_gradients(wanted, right, again=False)[:3])
        of_bias = grad.sum(0) if ctx.needs_input_grad[2 * _WIDTH] else None
        rest = [None] * (_WIDTH - 3)
        return (*of_left, *rest, *of_right, *rest, of_bias, None)


def _gradients(grad: Tensor, operand: Operand, again: bool) -> tuple[Any, Any, Any, Any]:
    """Return the gradients of an operand and its quantizer, and with `again` the quantized operand."""
    x, scale, zero_point, *how = operand
    if scale is None or zero_point is None:
        return grad, None, None, x
    return operators.gradients(grad, x, scale, zero_point, *how, again=again)


def _declare(library: torch.library.Library) -> None:
    def of(side: str) -> str:
        return (
            f"Tensor {side}, Tensor? {side}_scale, Tensor? {side}_zero_point, int {side}_top, str {side}_transform, "
            f"bool {side}_invert, bool {side}_per_token"
        )

    schema = f"quantized_product({of('left')}, {of('right')}, Tensor? bias, bool transposed) -> Tensor"
    library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    library.impl("quantized_product", _forward, "CompositeExplicitAutograd")
    name = "compsrt::quantized_product"
    torch.library.register_fake(name, _shape, lib=library)
    torch.library.register_autograd(name, _differentiate, setup_context=_keep, lib=library)


declare_once("quantized_product", _declare)
quantized_product = torch.ops.compsrt.quantized_product.default
