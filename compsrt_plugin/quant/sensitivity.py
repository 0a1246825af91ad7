"""Each activation's part in the output's error, from gradients of random projections of the output.

    e_i = E_v (v · J_i d_i)^2 / N        d_i = Q(x_i) - x_i,   v random signs of the output's shape, N its size

J_i d_i is the change of the output, to first order, if activation i alone is quantized, so that e_i is its mean
square. One backward pass gives v · J_i d_i of every activation at once. Few v leave much noise in the square of one
number; the sum of squares over vectors (tokens), E_v sum_t (g_t · d_t)^2 with g = J_i^T v, has far less of it, but
misses what errors of different vectors add up to. The larger of the two is taken. (Ours. Held against quantizing one
activation at a time: docs/calibration.md.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from compsrt_plugin.errors import unknown_name
from compsrt_plugin.quant.calibrate import activation_quantizers
from compsrt_plugin.quant.convert import named_quantizers
from compsrt_plugin.quant.quantizer import Mode, Quantizer
from compsrt_plugin.quant.surgery import evaluating

PROJECTIONS = 2
STANDS_OUT = 3.0  # times the mean: where there are few activations, each has a large share


class _Projected:
    """What the backward passes of one quantizer gave.

    Attributes:
        of_vectors: sum over all passes of the sum over vectors of (g_t · d_t)^2.
        of_tensors: sum over all passes of (g · d)^2.
    """

    def __init__(self) -> None:
        self.of_vectors = self.of_tensors = 0.0
        self._dot = 0.0  # a quantizer may be used several times in a pass; its changes add up

    def add(self, dots: Tensor) -> None:
        """Take the dot products (...,) of gradient and change, one a vector."""
        self.of_vectors += float(dots.square().sum())
        self._dot += float(dots.sum())

    def end_pass(self) -> None:
        """Take the square of what came since the last call."""
        self.of_tensors += self._dot**2
        self._dot = 0.0


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
    with _watched(network, quantizers, noted):
        generator, values = torch.Generator("cpu").manual_seed(seed), 0
        for picture in pictures:
            x = picture.detach().requires_grad_()  # so that there is a graph, whatever the parameters are
            output = network(x)
            for number in range(projections):
                bits = torch.randint(0, 2, output.shape, generator=generator, dtype=output.dtype, device="cpu")
                signs = 2 * bits - 1  # drawn on the CPU: the same on every device
                projected = (signs.to(output.device) * output).sum()
                torch.autograd.grad(projected, x, retain_graph=number + 1 < projections)
                for one in noted.values():
                    one.end_pass()
            values += output.numel() * projections
    return {name: max(one.of_vectors, one.of_tensors) / max(values, 1) for name, one in noted.items()}


def raised_bits(errors: Mapping[str, float], bits: Mapping[str, int], share: float, most: int) -> dict[str, int]:
    """Say which activations need more bits so that none makes more than its share of the output's error.

    Errors are taken to add up, and to fall by a factor of four with each bit. As long as the largest is above `share`
    of what is left of the sum, and above three times the mean, its activation gets two more bits.

    Args:
        errors: of `output_errors`.
        bits: of each activation now.
        share: of the sum that one activation may make, 0 to 1.
        most: bits that an activation may get.

    Returns:
        Name -> bits of the activations that need more, by falling error.

    >>> raised_bits({"a": 40.0, "b": 1.0, "c": 1.0, "d": 1.0}, dict.fromkeys("abcd", 4), share=0.4, most=8)
    {'a': 6}
    """
    left, found = dict(errors), dict(bits)
    share = max(share, STANDS_OUT / max(len(errors), 1))
    while left:
        name = max(left, key=lambda one: left[one])
        if left[name] <= share * sum(left.values()):
            break
        wider = min(found[name] + 2, most)
        if wider <= found[name]:
            break  # nothing more can be given to the worst
        left[name] /= 4.0 ** (wider - found[name])
        found[name] = wider
    raised = [name for name in bits if found[name] > bits[name]]
    return {name: found[name] for name in sorted(raised, key=lambda one: -errors[one])}


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


@contextmanager
def _watched(
    network: nn.Module, quantizers: Mapping[str, Quantizer], noted: Mapping[str, _Projected]
) -> Iterator[None]:
    """Let each activation quantizer pass its tensor on as it is, and note gradient times change on the way back."""
    modes = {name: quantizer.mode for name, quantizer in quantizers.items()}
    handles = []

    def watching(note: _Projected) -> Any:
        def watch(quantizer: Quantizer, _inputs: Any, x: Tensor) -> Tensor:
            with torch.no_grad():
                change = quantizer.inverse(quantizer.quantize(quantizer.transform(x)), x.shape[-1]) - x
            return cast(Tensor, _Watch.apply(x, change, note))

        return watch

    try:
        for name, quantizer in quantizers.items():
            quantizer.mode = Mode.OBSERVE  # without samples: full precision, but not passed over as one that is off
            handles.append(quantizer.register_forward_hook(watching(noted[name])))
        with evaluating(network):
            yield
    finally:
        for handle in handles:
            handle.remove()
        for name, quantizer in quantizers.items():
            quantizer.mode = modes[name]
