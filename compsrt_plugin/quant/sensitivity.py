"""Each activation's part in the output's error, from gradients of random projections of the output.

    e_i = E_v (v · J_i d_i)^2 / N        d_i = Q(x_i) - x_i,   v random signs of the output's shape, N its size

J_i d_i is the change of the output, to first order, if activation i alone is quantized, so that e_i is its mean
square. One backward pass gives v · J_i d_i of every activation at once, as g · d_i with g = J_i^T v.

The square of one number is a noisy estimate. g · d_i is a sum over vectors (tokens), and what two vectors change of
the output is nearly orthogonal unless they are close. So the sum is taken over groups of consecutive vectors, and the
squares of these sums are added: many numbers instead of one. What distant vectors have in common is lost. Groups of
several sizes are averaged. (Ours. Held against quantizing one activation at a time: docs/notes/sensitivity.md.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from compsrt_plugin.errors import unknown_name
from compsrt_plugin.quant.calibrate import activation_quantizers
from compsrt_plugin.quant.convert import named_quantizers
from compsrt_plugin.quant.modes import evaluating, watched
from compsrt_plugin.quant.quantizer import Quantizer

PROJECTIONS = 8
GROUPS = (16, 64, 256, 1024)  # vectors of a group; 64 are the tokens of a window of 8 x 8


class _Projected:
    """What the backward passes of one quantizer gave.

    Attributes:
        squares: sum over all passes, and mean over the sizes of groups, of the sum over groups of (g · d)^2.
    """

    def __init__(self) -> None:
        self.squares = 0.0

    def add(self, dots: Tensor) -> None:
        """Take the dot products (...,) of gradient and change, one a vector."""
        dots = dots.flatten()
        for size in GROUPS:
            groups = nn.functional.pad(dots, (0, -len(dots) % size)).view(-1, size)
            self.squares += float(groups.sum(1).square().sum()) / len(GROUPS)


class _Watch(torch.autograd.Function):
    """The identity; its backward pass notes gradient times change."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, change: Tensor, noted: _Projected) -> Tensor:
        ctx.save_for_backward(change)
        ctx.noted = noted
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (change,) = gradients, ctx.saved_tensors
        ctx.noted.add((gradient * change).sum(-1).double())
        return gradient, None, None


def output_errors(
    network: nn.Module, pictures: Iterable[Tensor], projections: int = PROJECTIONS, seed: int = 0
) -> dict[str, float]:
    """Estimate the mean squared change of the output if each activation alone is quantized.

    Args:
        network: calibrated; modes, parameters and their gradients are left as they were. Weights count as they are.
        pictures: inputs (1, c, h, w) of the network, one forward and `projections` backward passes each.
        projections: random v for each picture.
        seed: of the v.

    Returns:
        Name of each activation's quantizer -> squared units of the output, an estimate.
    """
    quantizers = activation_quantizers(network)
    noted = {name: _Projected() for name in quantizers}
    hooks = {name: _noting(note) for name, note in noted.items()}
    with watched(quantizers, lambda name, one: one.register_forward_hook(hooks[name])), evaluating(network):
        generator, values = torch.Generator("cpu").manual_seed(seed), 0
        for picture in pictures:
            x = picture.detach().requires_grad_()  # so that there is a graph, whatever the parameters are
            output = network(x)
            for number in range(projections):
                bits = torch.randint(0, 2, output.shape, generator=generator, dtype=output.dtype, device="cpu")
                signs = 2 * bits - 1  # drawn on the CPU: the same on every device
                projected = (signs.to(output.device) * output).sum()
                torch.autograd.grad(projected, x, retain_graph=number + 1 < projections)
            values += output.numel() * projections
    return {name: one.squares / max(values, 1) for name, one in noted.items()}


def raised_bits(errors: Mapping[str, float], bits: Mapping[str, int], times_mean: float, most: int) -> dict[str, int]:
    """Say which activations need more bits so that none makes more than some times the mean error.

    An error is taken to fall by a factor of four with each bit. As long as that of an activation is above `times_mean`
    times the mean of all errors, as they were at first, it gets two more bits.

    Args:
        errors: of `output_errors`.
        bits: of each activation now.
        times_mean: how many times the mean error one activation may make.
        most: bits that an activation may get.

    Returns:
        Name -> bits of the activations that need more, by falling error.

    >>> raised_bits({"a": 40.0, "b": 1.0, "c": 1.0, "d": 1.0}, dict.fromkeys("abcd", 4), times_mean=2, most=8)
    {'a': 6}
    """
    limit = times_mean * sum(errors.values()) / max(len(errors), 1)
    raised = {}
    for name in sorted(errors, key=lambda one: -errors[one]):
        error, wider = errors[name], bits[name]
        while error > limit and wider < most:
            error, wider = error / 4.0 ** min(2, most - wider), min(wider + 2, most)
        if wider > bits[name]:
            raised[name] = wider
    return raised


def give_bits(network: nn.Module, bits: Mapping[str, int]) -> None:
    """Set the bits of quantizers by their names; their bounds, searched for other bits, are to be searched again.

    Raises:
        CompSRTError: the network has no quantizer of a name.
    """
    quantizers = dict(named_quantizers(network))
    for name, number in bits.items():
        if name not in quantizers:
            raise unknown_name("quantizer", name, quantizers)
        quantizers[name].spec = dataclasses.replace(quantizers[name].spec, bits=number)


def _noting(note: _Projected) -> Callable[[Quantizer, Any, Tensor], Tensor]:
    """Return a forward hook that notes gradient times change on the way back."""

    def hook(quantizer: Quantizer, _inputs: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            change = quantizer.inverse(quantizer.quantize(quantizer.transform(x)), x.shape[-1]) - x
        return cast(Tensor, _Watch.apply(x, change, note))

    return hook
