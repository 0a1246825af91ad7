"""The fake-quantization arithmetic, forward and hand-written backward, in both code modes.

strict    r = clamp(round((x - Z) / s), 0, N)            xhat = s r + Z        N = 2^bits - 1
paper     r = round((clip(x, l, u) - Z) / s)             xhat = s r + Z

Gradients of strict (LSQ, ICLR 2020; LSQ+, CVPRW 2020), t = (x - Z) / s, inside = 0 <= t <= N:
    d xhat / d x = inside      d xhat / d s = r - t inside, r outside      d xhat / d Z = 0 inside, 1 outside
Gradients of paper: straight-through for round, so d xhat / d s = r - t and d xhat / d Z = 0 everywhere; clip
passes the gradient inside [l, u], and l (u) receives that of the elements below l (above u).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MIN_SCALE = 1e-8  # a scale trained down to zero or below would divide by zero or turn the codes around


def integer_codes(x: Tensor, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
    """Return strict codes r in 0..top as a floating tensor of x's shape.

    Args:
        x: any shape.
        scale: s > 0, broadcastable to x.
        zero_point: Z, the value of code 0, broadcastable to x.
        top: the largest code, 2^bits - 1.
    """
    return (x - zero_point).div_(scale).round_().clamp_(0, top)


def dequantize(codes: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return s r + Z; the one expression that turns codes into values, simulated and packed alike."""
    return codes * scale + zero_point


class StrictFakeQuantize(torch.autograd.Function):
    """xhat of `strict` codes; differentiable in x, scale and zero point."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
        """Quantize x (any shape) with s and Z broadcastable to it; returns x's shape."""
        ctx.save_for_backward(x, scale, zero_point)
        ctx.top = top
        # `dequantize` in place: the codes are ours, and the tensor is large enough for memory traffic to count.
        return integer_codes(x, scale, zero_point, top).mul_(scale).add_(zero_point)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """Recompute t from x, so that only x, already alive for the layer before, is held in between."""
        (grad,) = grads
        x, scale, zero_point = ctx.saved_tensors
        t = (x - zero_point).div_(scale)
        grad_inside = grad * ((t >= 0) & (t <= ctx.top))
        grad_scale = grad_zero = None
        if ctx.needs_input_grad[1]:
            residual = t.round().clamp_(0, ctx.top).mul_(grad).sub_(t.mul_(grad_inside))
            grad_scale = residual.sum_to_size(scale.shape)
        if ctx.needs_input_grad[2]:
            grad_zero = (grad - grad_inside).sum_to_size(zero_point.shape)
        return grad_inside if ctx.needs_input_grad[0] else None, grad_scale, grad_zero, None


class _RoundStraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class _Clip(torch.autograd.Function):
    """clip(x, l, u) whose bounds receive the summed gradient of what they clip."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        ctx.save_for_backward(x, lower, upper)
        return torch.minimum(torch.maximum(x, lower), upper)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        x, lower, upper = ctx.saved_tensors
        below, above = x < lower, x > upper
        return (
            grad * ~(below | above),
            (grad * below).sum_to_size(lower.shape),
            (grad * above).sum_to_size(upper.shape),
        )


def paper_codes(x: Tensor, lower: Tensor, upper: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return the published codes r = round((clip(x, l, u) - Z) / s), which are not limited to n bits."""
    return _RoundStraightThrough.apply((_Clip.apply(x, lower, upper) - zero_point) / scale)


def paper_fake_quantize(x: Tensor, lower: Tensor, upper: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return xhat of the published quantizer, with its gradients (beta's is identically zero)."""
    return dequantize(paper_codes(x, lower, upper, scale, zero_point), scale, zero_point)
