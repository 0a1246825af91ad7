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


def magnitude(x: Tensor) -> Tensor:
    """Return the largest magnitude of each vector of x (..., m), above 1e-8: (..., 1), without gradient.

    Its gradient would move one element of a token by what quantization does to all others, which is noise.

    Args:
        x: in float32 or float64; 1e-8 is 0 in half precision.
    """
    if not x.shape[-1]:  # the map over one token, of whose transform `hadamard_softmax` leaves nothing
        return x.detach().new_full((*x.shape[:-1], 1), MIN_SCALE)
    return x.detach().abs().amax(-1, keepdim=True).clamp_min_(MIN_SCALE)


def strict_gradients(
    grad: Tensor, x: Tensor, scale: Tensor, zero_point: Tensor, top: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of xhat of `strict` codes by x, scale and zero point, which can be differentiated again.

    Args:
        grad: of xhat.
        x, scale, zero_point, top: as of `integer_codes`.
    """
    t = (x - zero_point).div_(scale)
    # Not in place: under `torch.vmap` what multiplies may have one more axis than what is multiplied.
    grad_inside = grad * ((t >= 0) & (t <= top))
    grad_scale = t.round().clamp_(0, top) * grad - t * grad_inside
    return grad_inside, grad_scale.sum_to_size(scale.shape), (grad - grad_inside).sum_to_size(zero_point.shape)


def strict_fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
    """Return xhat of `strict` codes, with its gradients, of x's shape.

    A TorchScript file holds no `torch.autograd.Function`, so a traced network is of torch's own operations, whose
    gradients are the same.

    Args:
        x: any shape.
        scale, zero_point, top: as of `integer_codes`.
    """
    if not _recorded():
        return StrictFakeQuantize.apply(x, scale, zero_point, top)
    return dequantize(_round(((x - zero_point) / scale).clamp(0, top)), scale, zero_point)


def _recorded() -> bool:
    """Tell whether `torch.jit.trace` records; for ONNX functions are written out as operations by torch itself."""
    tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return tracing and not torch.onnx.is_in_onnx_export()


def _round(x: Tensor) -> Tensor:
    """Round straight through; a difference of a number and the integer nearest to it is exact, and so is the sum."""
    return x + (x.round() - x).detach() if _recorded() else _RoundStraightThrough.apply(x)


def _clip(x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Clip x; a bound has the gradient of the elements beyond it, an element on it keeps its own."""
    if not _recorded():
        return _Clip.apply(x, lower, upper)
    return torch.where(x < lower, lower, torch.where(x > upper, upper, x))


class StrictFakeQuantize(torch.autograd.Function):
    """xhat of `strict` codes; differentiable in x, scale and zero point, and so is its backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
        """Quantize x (any shape) with s and Z broadcastable to it; returns x's shape."""
        # `dequantize` in place: the codes are ours, and the tensor is large enough for memory traffic to count.
        return integer_codes(x, scale, zero_point, top).mul_(scale).add_(zero_point)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep x, already alive for the layer before, and nothing of its size beside it."""
        *tensors, ctx.top = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Recompute t from x."""
        x, scale, zero_point = ctx.saved_tensors
        return (*strict_gradients(grads[0], x, scale, zero_point, ctx.top), None)


class _RoundStraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class _Clip(torch.autograd.Function):
    """clip(x, l, u) whose bounds receive the summed gradient of what they clip."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, lower), upper)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

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
    return _round((_clip(x, lower, upper) - zero_point) / scale)


def paper_fake_quantize(x: Tensor, lower: Tensor, upper: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return xhat of the published quantizer, with its gradients (beta's is identically zero)."""
    return dequantize(paper_codes(x, lower, upper, scale, zero_point), scale, zero_point)
