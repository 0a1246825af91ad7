"""Equalization: fold a per-channel shift and scale of linear inputs into the preceding norm, at no runtime cost.

A norm gives a layer the input x = γ n + b, n the normalized vector. With a shift μ and a scale s of each channel,

    W x + c  =  (W diag(s)) ((x - μ) / s) + (c + W μ),        (x - μ) / s = (γ / s) n + (b - μ) / s,

so the network computes the same function with other γ, b, W and c, and quantizes (x - μ) / s instead of x (Outlier
Suppression+, arXiv 2304.09145; SmoothQuant, arXiv 2211.10438, has the scale alone). A transform spreads the error over
all channels: it is the same in each, and proportional to the length of the vector. The squared error of the product is
then proportional to |W diag(s)|_F² E|(x - μ) / s|². By Cauchy and Schwarz it is smallest with

    μ = E[x],        s_j = (Var x_j / |W_j|²)^¼,

W_j the column of channel j. The error of the weight, |W diag(s)|² times the input length, is smallest there too.

Which layers read a norm is measured, not derived from code. A layer belongs to a norm if its input vectors are the
output vectors of the norm, in any order. Then norms are changed at random and the layers are changed to compensate. If
the output of the network changes, something else reads the norm too, and the norm is left unchanged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.devices import forward
from compsrt_plugin.quant.layers import QuantLinear
from compsrt_plugin.quant.modes import evaluating, removed, switched_off
from compsrt_plugin.quant.network import quantized_layers
from compsrt_plugin.quant.passes.registry import Calibration, Pass, Stage, register_pass
from compsrt_plugin.quant.tracing.linears import FunctionalLinear

TRIAL = 8.0  # largest factor by which a trial scales channels up or down
SAME = 1e-4  # of the largest output: largest change that a trial may cause
LARGEST = 64.0  # largest scale, and 1 / the smallest: an almost constant channel has no limit of its own


@dataclass(frozen=True)
class NormGroup:
    """A norm and the linear layers that read it; nothing else does.

    Attributes:
        name: dotted name of the norm.
        norm: `weight` and `bias` are γ and b, (d,).
        layers: linear layers with d input channels.
    """

    name: str
    norm: nn.Module
    layers: tuple[QuantLinear, ...]

    @property
    def shifts(self) -> bool:
        """Whether all layers have a bias of their own that can take up a shift."""
        return all(layer.bias is not None and not isinstance(layer, FunctionalLinear) for layer in self.layers)

    def fold(self, shift: Tensor, scale: Tensor) -> None:
        """Make the norm return (x - shift) / scale and the layers compensate; both arguments (d,), float64."""
        with torch.no_grad():
            gamma, beta = self.norm.weight, self.norm.bias
            assert isinstance(gamma, Tensor) and isinstance(beta, Tensor)
            gamma.copy_(gamma / scale)
            beta.copy_((beta - shift) / scale)
            for layer in self.layers:
                weight = layer.weight_matrix()
                if layer.bias is not None and self.shifts:
                    layer.bias.copy_(layer.bias + weight.double() @ shift)
                weight.copy_(weight * scale)


def equalize(network: nn.Module, batches: Iterable[Tensor], images: Sequence[Tensor]) -> list[str]:
    """Fold a shift and a scale of the inputs of quantized linear layers into norms; the function stays the same.

    Args:
        network: from `convert`, not frozen; changed in place.
        batches: calibration inputs, from which the moments of channels are computed.
        images: inputs on which norms are tested for other readers. Give several sizes if the network pads the output
            of a norm at some of them: padded zeros are not shifted.

    Returns:
        The names of the changed norms.
    """
    with switched_off(network), evaluating(network), torch.no_grad():
        found = find_norm_groups(network, images)
        moments = _moments(network, found, batches)
        for one in found:
            one.fold(*best(one, *moments[one.name]))
    return [one.name for one in found]


def best(group: NormGroup, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best shift and scale, (d,) each, for inputs with this mean and mean square, (d,), float64.

    The geometric mean of the scales is 1; each is between 1 / `LARGEST` and `LARGEST`.
    """
    shift = mean if group.shifts else torch.zeros_like(mean)
    spread = (square - 2 * shift * mean + shift.square()).clamp_min(0)
    columns = torch.stack([layer.weight_matrix().detach().double().square().sum(0) for layer in group.layers]).sum(0)
    tiny = torch.finfo(torch.float32).tiny
    scale = ((spread + tiny) / (columns + tiny)).pow(0.25)
    scale = (scale / scale.log().mean().exp()).clamp(1 / LARGEST, LARGEST)
    return shift, scale


def find_norm_groups(network: nn.Module, images: Sequence[Tensor]) -> list[NormGroup]:
    """Return the norms that only quantized linear layers read.

    Args:
        network: in eval mode, quantizers off.
        images: inputs on which each norm is tested.
    """
    found = _candidates(network, images[0])
    for image in images:
        found = _proven(network, image, found)
    return found


def _candidates(network: nn.Module, batch: Tensor) -> list[NormGroup]:
    """Return each norm with the layers whose input vectors are its output vectors."""
    outputs: list[tuple[str, Tensor]] = []
    calls: Counter[str] = Counter()
    readers: dict[str, list[QuantLinear]] = {}
    seen: set[int] = set()

    def after(name: str, norm: nn.Module, output: Tensor) -> None:
        width = norm.weight.numel()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        axes = {axis % output.dim() for axis in (-1, 1) if output.shape[axis] == width}  # both, in an image of 64 x 64
        outputs.extend((name, _signature(output.movedim(axis, -1))) for axis in axes)
        calls[name] += 1

    def before(layer: Any, given: Tensor) -> None:
        signature = _signature(layer.vectors(given))
        for name, other in reversed(outputs):
            if other.shape == signature.shape and torch.allclose(other, signature, rtol=1e-9, atol=1e-12):
                if id(layer) not in seen:
                    readers.setdefault(name, []).append(layer)
                seen.add(id(layer))
                return

    handles = [
        norm.register_forward_hook(lambda module, _inputs, output, name=name: after(name, module, output))
        for name, norm in network.named_modules()
        if _is_norm(norm)
    ]
    handles += [
        layer.register_forward_pre_hook(lambda module, inputs: before(module, inputs[0]))
        for _, layer in quantized_layers(network)
        if isinstance(layer, QuantLinear)
    ]
    with removed(handles):
        network(batch)
    once = [name for name, count in calls.items() if count == 1 and name in readers]
    return [NormGroup(name, network.get_submodule(name), tuple(readers[name])) for name in once]


def _is_norm(module: nn.Module) -> bool:
    """Return whether a module looks like a norm: no children, `weight` and `bias` of one axis and equal length."""
    own = module._parameters
    if set(own) != {"weight", "bias"} or next(module.children(), None) is not None:
        return False
    gamma, beta = own["weight"], own["bias"]
    return gamma is not None and beta is not None and gamma.dim() == 1 and gamma.shape == beta.shape


def _signature(vectors: Tensor) -> Tensor:
    """Return a signature of vectors (..., d) that does not depend on their order: sorted weighted sums of channels."""
    weights = torch.linspace(1, 2, vectors.shape[-1], dtype=torch.float64, device=vectors.device)
    return (vectors.double() @ weights).flatten().sort().values


def _proven(network: nn.Module, batch: Tensor, candidates: Sequence[NormGroup]) -> list[NormGroup]:
    """Return the candidates whose change leaves the output of the network the same."""
    usual = network(batch)
    allowed = SAME * float(usual.abs().max())

    def unchanged(some: Sequence[NormGroup]) -> bool:
        with _restored(some):
            generator = torch.Generator("cpu").manual_seed(0)
            for one in some:
                width = one.layers[0].in_features
                draws = torch.rand(2, width, generator=generator, dtype=torch.float64, device="cpu").to(batch.device)
                shift = (draws[0] - 0.5) * 2 if one.shifts else torch.zeros_like(draws[0])
                one.fold(shift, TRIAL ** (2 * draws[1] - 1))
            return bool((network(batch) - usual).abs().max() <= allowed)

    if unchanged(candidates):
        return list(candidates)
    return [one for one in candidates if unchanged([one])]


@contextmanager
def _restored(some: Sequence[NormGroup]) -> Iterator[None]:
    """Restore the parameters of norms and layers after the body."""
    parameters = [p for one in some for module in (one.norm, *one.layers) for p in module.parameters(recurse=False)]
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        yield
    finally:
        for parameter, value in zip(parameters, before):
            parameter.data.copy_(value)


def _moments(
    network: nn.Module, found: Sequence[NormGroup], batches: Iterable[Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return mean and mean square of each input channel of each norm's layers, (d,), float64."""
    sums: dict[str, tuple[Tensor, Tensor, int]] = {}

    def watch(name: str, layer: QuantLinear):
        def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = layer.vectors(inputs[0]).flatten(0, -2).double()
            mean, square, count = sums.get(name, (0, 0, 0))
            sums[name] = (mean + x.sum(0), square + x.square().sum(0), count + len(x))

        return layer.register_forward_pre_hook(add)

    handles = [watch(one.name, one.layers[0]) for one in found]
    with removed(handles):
        for batch in batches:
            forward(network, batch)
    return {name: (mean / count, square / count) for name, (mean, square, count) in sums.items()}


def equalize_inputs(calibration: Calibration, _on: bool) -> None:
    """Shift and scale the inputs of linear layers that follow a norm; quantizers are off."""
    if not calibration.has_linear_layers:
        return
    batches = list(calibration.patches("equalization"))
    less = calibration.network.window_size  # a network that takes any size must pad inputs of another size itself
    side = max(less, min(batches[0].shape[-2:]) - less)
    found = equalize(calibration.network, batches, [batches[0], batches[0][..., :side, :side]])
    calibration.log(f"Inputs of linear layers shifted and scaled by {len(found)} norms before them")


register_pass(
    Pass(
        "equalization",
        "shift and scale the input channels of linear layers before bounds are searched, where the preceding norm can "
        "absorb it. The full-precision network stays the same.",
        kind=bool,
        off=False,
        stage=Stage.WEIGHTS,
        run=equalize_inputs,
    )
)
