"""Products of two activations with quantized operands: q k^T, map · v, and the products of foreign code."""

from __future__ import annotations

from torch import Tensor

from compsrt_plugin.ops import quantized_product
from compsrt_plugin.quant.precision import in_full_precision
from compsrt_plugin.quant.quantizer import Mode, Quantizer


def share_domain(a: Quantizer | None, b: Quantizer | None) -> bool:
    """Return whether the product of two quantized operands is computed in the domain in which they are quantized.

    It is if both have the same orthonormal transform and bounded codes: Q(x H) Q(w H)^T needs no inverse and no crop,
    and is the integer product that a low-bit engine computes. The published code transforms back first.
    """
    return (
        a is not None
        and b is not None
        and a.mode is b.mode is Mode.ON
        and a.spec.transform == b.spec.transform
        and a.code_mode.bounded
        and b.code_mode.bounded
    )


def product(left: Tensor, right: Tensor, left_quantizer: Quantizer | None, right_quantizer: Quantizer | None) -> Tensor:
    """Return left @ right^T of two quantized operands, contracted over the last axis of both.

    Args:
        left: (..., n, k).
        right: (..., m, k).
        left_quantizer, right_quantizer: None keeps that operand in full precision.

    Returns:
        (..., n, m).
    """
    if not any_on(left_quantizer, right_quantizer):
        return apply_quantizer(left_quantizer, left) @ apply_quantizer(right_quantizer, right).transpose(-2, -1)

    def compute(left: Tensor, right: Tensor) -> Tensor:
        if share_domain(left_quantizer, right_quantizer):
            assert left_quantizer is not None and right_quantizer is not None
            if left_quantizer.has_operator and right_quantizer.has_operator:
                operands = left_quantizer.operand(left, False), right_quantizer.operand(right, False)
                return quantized_product.multiply(*operands, True)
            left = left_quantizer.quantize(left_quantizer.transform(left))
            right = right_quantizer.quantize(right_quantizer.transform(right))
            return left @ right.transpose(-2, -1)
        return apply_quantizer(left_quantizer, left) @ apply_quantizer(right_quantizer, right).transpose(-2, -1)

    return in_full_precision(compute, left, right)


def weighted_sum(
    weights: Tensor, values: Tensor, weight_quantizer: Quantizer | None, value_quantizer: Quantizer | None
) -> Tensor:
    """Return weights @ values of two quantized operands, each taken back from its own domain first.

    Args:
        weights: (..., n, m), such as a softmax map.
        values: (..., m, d).
        weight_quantizer, value_quantizer: None keeps that operand in full precision.

    Returns:
        (..., n, d).
    """
    if not any_on(weight_quantizer, value_quantizer):
        return apply_quantizer(weight_quantizer, weights) @ apply_quantizer(value_quantizer, values)

    def compute(weights: Tensor, values: Tensor) -> Tensor:
        if weight_quantizer is not None and value_quantizer is not None:
            on = weight_quantizer.mode is value_quantizer.mode is Mode.ON
            if on and weight_quantizer.has_operator and value_quantizer.has_operator:
                operands = weight_quantizer.operand(weights, True), value_quantizer.operand(values, True)
                return quantized_product.multiply(*operands, False)
        return apply_quantizer(weight_quantizer, weights) @ apply_quantizer(value_quantizer, values)

    return in_full_precision(compute, weights, values)


def apply_quantizer(quantizer: Quantizer | None, x: Tensor) -> Tensor:
    """Return `quantizer(x)`, or x if the operand stays in full precision (None)."""
    return x if quantizer is None else quantizer(x)


def any_on(*quantizers: Quantizer | None) -> bool:
    """Return whether one of them quantizes; if not, the product is that of the full-precision network."""
    return any(quantizer is not None and quantizer.mode is Mode.ON for quantizer in quantizers)
