"""Fake quantization: the formulas of codes and values, their gradients, and the registry of code modes.

    s = (u - l) / N                   scale of the bounds l, u; N = 2^bits - 1
    t = (x - Z) / s                   position of a value on the grid
    xhat = s r + Z                    value of a code

    strict    r = clamp(round(t), 0, N)
    paper     r = round((clip(x, l, u) - Z) / s)

Gradients of strict (LSQ, ICLR 2020; LSQ+, CVPRW 2020), inside = 0 <= t <= N:
    d xhat / d x = inside      d xhat / d s = r - t inside, r outside      d xhat / d Z = 0 inside, 1 outside
Gradients of paper: straight-through for round, so d xhat / d s = r - t and d xhat / d Z = 0 everywhere. clip passes
the gradient inside [l, u]; l (u) receives the gradient of the elements below l (above u).

All Python code calls these functions. The kernels (csrc) and the ONNX writer (`onnx.quantized`) repeat the formulas in
their own language, and tests compare them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

MIN_SCALE = 1e-8  # a trained scale of zero or below would divide by zero or reverse the order of the codes


class Grid(NamedTuple):
    """The grid of one tensor's codes.

    Attributes:
        scale: s > 0, broadcastable to the tensor.
        zero_point: Z, the value of code 0, broadcastable to the tensor.
        lower, upper: bounds l and u.
        top: N, the largest code that the bits can represent.
    """

    scale: Tensor
    zero_point: Tensor
    lower: Tensor
    upper: Tensor
    top: int


def scale_of_bounds(lower: Tensor, upper: Tensor, bits: int) -> Tensor:
    """Return the scale s = (u - l) / (2^bits - 1)."""
    return (upper - lower) / (2**bits - 1)


def position(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return t = (x - Z) / s, the position of x on the grid, as a new tensor."""
    return (x - zero_point).div_(scale)


def integer_codes(x: Tensor, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
    """Return strict codes r in 0..top as a floating tensor of the shape of x.

    Args:
        x: any shape.
        scale: s > 0, broadcastable to x.
        zero_point: Z, the value of code 0, broadcastable to x.
        top: the largest code, 2^bits - 1.
    """
    return position(x, scale, zero_point).round_().clamp_(0, top)


def dequantize(codes: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return the values s r + Z of codes; simulation and packed files share this expression."""
    return codes * scale + zero_point


def nearest_values(x: Tensor, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
    """Return xhat of strict codes without gradients; `dequantize` runs in place to save memory traffic."""
    return integer_codes(x, scale, zero_point, top).mul_(scale).add_(zero_point)


def largest_magnitude(x: Tensor) -> Tensor:
    """Return the largest magnitude of each vector of x (..., m), at least 1e-8: (..., 1), without gradient.

    Through its gradient, one element of a token would receive the quantization noise of all others.

    Args:
        x: in float32 or float64; in half precision 1e-8 is 0.
    """
    if not x.shape[-1]:  # `hadamard_softmax` leaves no coefficient of a map over one token
        return x.detach().new_full((*x.shape[:-1], 1), MIN_SCALE)
    return x.detach().abs().amax(-1, keepdim=True).clamp_min_(MIN_SCALE)


def strict_gradients(
    grad: Tensor, x: Tensor, scale: Tensor, zero_point: Tensor, top: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of strict xhat with respect to x, scale and zero point; they are differentiable.

    Args:
        grad: gradient of xhat.
        x, scale, zero_point, top: as in `integer_codes`.
    """
    t = position(x, scale, zero_point)
    # Not in place: under `torch.vmap` a factor may have one more axis than the other.
    grad_inside = grad * ((t >= 0) & (t <= top))
    grad_scale = t.round().clamp_(0, top) * grad - t * grad_inside
    return grad_inside, grad_scale.sum_to_size(scale.shape), (grad - grad_inside).sum_to_size(zero_point.shape)


def strict_fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
    """Return xhat of strict codes, with gradients, in the shape of x.

    A TorchScript file cannot hold a `torch.autograd.Function`, so a traced network gets torch's own operations with
    the same gradients.

    Args:
        x: any shape.
        scale, zero_point, top: as in `integer_codes`.
    """
    if not _is_traced():
        return StrictFakeQuantize.apply(x, scale, zero_point, top)
    return dequantize(_round(((x - zero_point) / scale).clamp(0, top)), scale, zero_point)


def paper_codes(x: Tensor, lower: Tensor, upper: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return the published codes r = round((clip(x, l, u) - Z) / s), which may need more than `bits` bits."""
    return _round((_clip(x, lower, upper) - zero_point) / scale)


def paper_fake_quantize(x: Tensor, lower: Tensor, upper: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return xhat of the published quantizer, with its gradients (that of beta is always zero)."""
    return dequantize(paper_codes(x, lower, upper, scale, zero_point), scale, zero_point)


@dataclass(frozen=True)
class CodeMode:
    """One way from values to codes.

    Attributes:
        name: value of `codes` in specs and packed files.
        codes: takes x and its grid and returns r as a floating tensor.
        fake_quantize: takes x and its grid and returns xhat with gradients.
        bounded: whether r lies in 0..N. Per-token scales, and products in the domain, need that.
        operator: whether `ops.fake_quantize` computes it.
    """

    name: str
    codes: Callable[[Tensor, Grid], Tensor]
    fake_quantize: Callable[[Tensor, Grid], Tensor]
    bounded: bool
    operator: bool = False


CODES: dict[str, CodeMode] = {}
"""Every code mode by name."""


def register_code_mode(mode: CodeMode) -> CodeMode:
    """Add a code mode to `CODES` and return it.

    Raises:
        ValueError: the name is taken. The registry is unchanged.
    """
    if mode.name in CODES:
        raise ValueError(f"a code mode named {mode.name!r} is registered already")
    CODES[mode.name] = mode
    return mode


register_code_mode(
    CodeMode(
        "strict",
        lambda x, grid: integer_codes(x, grid.scale, grid.zero_point, grid.top),
        lambda x, grid: strict_fake_quantize(x, grid.scale, grid.zero_point, grid.top),
        bounded=True,
        operator=True,
    )
)
register_code_mode(
    CodeMode(
        "paper",
        lambda x, grid: paper_codes(x, grid.lower, grid.upper, grid.scale, grid.zero_point),
        lambda x, grid: paper_fake_quantize(x, grid.lower, grid.upper, grid.scale, grid.zero_point),
        bounded=False,
    )
)


class StrictFakeQuantize(torch.autograd.Function):
    """xhat of strict codes; differentiable with respect to x, scale and zero point, and so is its backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
        """Quantize x (any shape) with s and Z broadcastable to it; return the shape of x."""
        return nearest_values(x, scale, zero_point, top)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save only x, which the layer before keeps anyway, and the parameters of the grid."""
        *tensors, ctx.top = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Compute t from x again."""
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
    """clip(x, l, u); each bound receives the summed gradient of the elements that it clips."""

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


def _is_traced() -> bool:
    """Return whether `torch.jit.trace` records; in an ONNX export torch writes functions out as operations."""
    tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return tracing and not torch.onnx.is_in_onnx_export()


def _round(x: Tensor) -> Tensor:
    """Round with a straight-through gradient; the traced form is exact, as x.round() - x and the sum are."""
    return x + (x.round() - x).detach() if _is_traced() else _RoundStraightThrough.apply(x)


def _clip(x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Clip x; a bound gets the gradient of the elements beyond it, an element on a bound keeps its own."""
    if not _is_traced():
        return _Clip.apply(x, lower, upper)
    return torch.where(x < lower, lower, torch.where(x > upper, upper, x))
