"""Sensitivity: the contribution of each activation to the error of the output, estimated from gradients.

    e_i = E_v (v · J_i d_i)^2 / N        d_i = Q(x_i) - x_i,   v random signs of the output's shape, N its size

J_i d_i is the first-order change of the output if only activation i is quantized, and e_i is its mean square. One
backward pass gives v · J_i d_i of all activations, as g · d_i with g = J_i^T v.

The square of one number is a noisy estimate. g · d_i is a sum over vectors (tokens), and the changes that two vectors
cause in the output are almost orthogonal unless the vectors are close. So the sum is taken over groups of consecutive
vectors and the squares of the group sums are added. Correlation between distant vectors is lost. Several group sizes
are averaged. (Our method. docs/notes/sensitivity.md compares it with quantizing one activation at a time.)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from compsrt_plugin.errors import unknown_name
from compsrt_plugin.quant.modes import evaluating, watched
from compsrt_plugin.quant.network import activation_quantizers, named_quantizers
from compsrt_plugin.quant.quantizer import Quantizer

PROJECTIONS = 8
LARGEST = 10.0
"""An error counts in the mean of `raised_bits` for at most this many times the mean."""
GROUPS = (16, 64, 256, 1024)  # vectors per group; 64 are the tokens of a window of 8 x 8


class _Projected:
    """The sum of squares of one quantizer over all backward passes.

    Attributes:
        squares: sum over passes, mean over group sizes, of the sum over groups of (g · d)^2.
    """

    def __init__(self) -> None:
        self.squares = 0.0

    def add(self, dots: Tensor) -> None:
        """Add the dot products (...,) of gradient and change, one per vector."""
        dots = dots.flatten()
        for size in GROUPS:
            groups = nn.functional.pad(dots, (0, -len(dots) % size)).view(-1, size)
            self.squares += float(groups.sum(1).square().sum()) / len(GROUPS)


class _Watch(torch.autograd.Function):
    """The identity; its backward pass records gradient times change."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, change: Tensor, record: _Projected) -> Tensor:
        ctx.save_for_backward(change)
        ctx.record = record
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (change,) = gradients, ctx.saved_tensors
        ctx.record.add((gradient * change).sum(-1).double())
        return gradient, None, None


def output_errors(
    network: nn.Module, images: Iterable[Tensor], projections: int = PROJECTIONS, seed: int = 0
) -> dict[str, float]:
    """Return an estimate of the mean squared change of the output if each activation alone is quantized.

    Args:
        network: calibrated; modes, parameters and gradients are restored. Weights are used as they are.
        images: inputs (1, c, h, w) of the network, one forward and `projections` backward passes each.
        projections: number of random v for each image.
        seed: seed of the v.

    Returns:
        Name of each activation quantizer -> squared units of the output.
    """
    quantizers = activation_quantizers(network)
    noted = {name: _Projected() for name in quantizers}
    hooks = {name: _recording(note) for name, note in noted.items()}
    with watched(quantizers, lambda name, one: one.register_forward_hook(hooks[name])), evaluating(network):
        generator, values = torch.Generator("cpu").manual_seed(seed), 0
        for image in images:
            x = image.detach().requires_grad_()  # creates a graph even if no parameter requires gradients
            output = network(x)
            for number in range(projections):
                bits = torch.randint(0, 2, output.shape, generator=generator, dtype=output.dtype, device="cpu")
                signs = 2 * bits - 1  # drawn on the CPU, so equal on all devices
                projected = (signs.to(output.device) * output).sum()
                torch.autograd.grad(projected, x, retain_graph=number + 1 < projections)
            values += output.numel() * projections
    return {name: one.squares / max(values, 1) for name, one in noted.items()}


def raised_bits(errors: Mapping[str, float], bits: Mapping[str, int], times_mean: float, most: int) -> dict[str, int]:
    """Return the activations that need more bits so that no error exceeds a multiple of the mean error.

    Each bit is assumed to divide an error by four. While the error of an activation is above `times_mean` times the
    mean of the original errors, it gets two more bits. An error counts in that mean for at most `LARGEST` times the
    mean; otherwise a few large errors would hide all others.

    Args:
        errors: from `output_errors`.
        bits: current bits of each activation.
        times_mean: largest error of one activation, in multiples of the mean error.
        most: largest number of bits.

    Returns:
        Name -> new bits of the activations that need more, in descending order of error.

    >>> raised_bits({"a": 40.0, "b": 1.0, "c": 1.0, "d": 1.0}, dict.fromkeys("abcd", 4), times_mean=2, most=8)
    {'a': 6}
    """
    limit = times_mean * _mean(errors.values())
    raised = {}
    for name in sorted(errors, key=lambda one: -errors[one]):
        error, wider = errors[name], bits[name]
        while error > limit and wider < most:
            error, wider = error / 4.0 ** min(2, most - wider), min(wider + 2, most)
        if wider > bits[name]:
            raised[name] = wider
    return raised


def _mean(errors: Iterable[float]) -> float:
    """Return m, the mean of the errors with each above `LARGEST` · m replaced by that; 0 without errors."""
    ordered = sorted(errors, reverse=True)
    for capped, largest in enumerate(ordered):
        mean = math.fsum(ordered[capped:]) / (len(ordered) - LARGEST * capped)
        if largest <= LARGEST * mean:
            return mean
    return 0.0


def give_bits(network: nn.Module, bits: Mapping[str, int]) -> None:
    """Set the bits of quantizers by name; search their bounds again afterwards.

    Raises:
        CompSRTError: the network has no quantizer of that name.
    """
    quantizers = dict(named_quantizers(network))
    for name, number in bits.items():
        if name not in quantizers:
            raise unknown_name("quantizer", name, quantizers)
        quantizers[name].spec = dataclasses.replace(quantizers[name].spec, bits=number)


def _recording(note: _Projected) -> Callable[[Quantizer, Any, Tensor], Tensor]:
    """Return a forward hook whose backward pass records gradient times change."""

    def hook(quantizer: Quantizer, _inputs: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            change = quantizer.inverse(quantizer.quantize(quantizer.transform(x)), x.shape[-1]) - x
        return cast(Tensor, _Watch.apply(x, change, note))

    return hook
