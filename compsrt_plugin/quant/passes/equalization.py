"""Inputs of linear layers shifted and scaled channel by channel, where the norm before takes that in: free.

What a layer is given is x = γ n + b, n the normed vector. With a shift μ and a scale s of each channel,

    W x + c  =  (W diag(s)) ((x - μ) / s) + (c + W μ),        (x - μ) / s = (γ / s) n + (b - μ) / s,

so the network computes the same with other γ, b, W and c, and what is quantized is (x - μ) / s (Outlier Suppression+,
arXiv 2304.09145; SmoothQuant, arXiv 2211.10438, has the scale alone). A transform that spreads every channel over all
coefficients spreads the error too: the same in each channel, and as large as the vector is long. The squared error
of the product is then as |W diag(s)|_F² E|(x - μ) / s|², and least, by Cauchy and Schwarz, with

    μ = E[x],        s_j = (Var x_j / |W_j|²)^¼,

W_j the column of channel j. The weight's own error, as |W diag(s)|² by as long inputs, is least there too.

Which layers a norm feeds is not read from code. Layers whose inputs are the vectors that a norm put out, in whatever
order, are taken for its own; then the norms are changed at random and the layers so that they make up for it, and where
the network's output moves, something else reads that norm as well and it is left alone.
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
from compsrt_plugin.quant.convert import quantized_layers
from compsrt_plugin.quant.layers import QuantLinear
from compsrt_plugin.quant.modes import evaluating, removed, switched_off
from compsrt_plugin.quant.tracing.linears import FunctionalLinear

TRIAL = 8.0  # times, how far a trial scales channels up or down
SAME = 1e-4  # of the largest output, how far a trial may move it
LARGEST = 64.0  # of a scale, up or down: a channel that hardly varies could ask for any


@dataclass(frozen=True)
class NormGroup:
    """A norm and the linear layers that are all that reads it.

    Attributes:
        name: of the norm.
        norm: `weight` and `bias` are its γ and b, (d,).
        layers: their inputs have d channels.
    """

    name: str
    norm: nn.Module
    layers: tuple[QuantLinear, ...]

    @property
    def shifts(self) -> bool:
        """Whether all layers have a bias to take a shift in, one that is theirs to say."""
        return all(layer.bias is not None and not isinstance(layer, FunctionalLinear) for layer in self.layers)

    def fold(self, shift: Tensor, scale: Tensor) -> None:
        """Have the norm put out (x - shift) / scale, and the layers make up for it; both (d,), float64."""
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


def equalize(network: nn.Module, batches: Iterable[Tensor], pictures: Sequence[Tensor]) -> list[str]:
    """Shift and scale the inputs of quantized linear layers where a norm can take it in; the function stays.

    Args:
        network: from `convert`, not frozen; changed in place.
        batches: calibration inputs, which say what channels look like.
        pictures: inputs on which it is tried that nothing else reads a norm. Of several sizes, where some make the
            network pad what a norm put out: zeros that are padded are not shifted.

    Returns:
        The names of the norms that were changed.
    """
    with switched_off(network), evaluating(network), torch.no_grad():
        found = find_norm_groups(network, pictures)
        moments = _moments(network, found, batches)
        for one in found:
            one.fold(*best(one, *moments[one.name]))
    return [one.name for one in found]


def best(group: NormGroup, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Return shift and scale, (d,) each, for inputs with this mean and mean square, (d,), float64.

    Scales have 1 for their geometric mean, and stay within `LARGEST`.
    """
    shift = mean if group.shifts else torch.zeros_like(mean)
    spread = (square - 2 * shift * mean + shift.square()).clamp_min(0)
    columns = torch.stack([layer.weight_matrix().detach().double().square().sum(0) for layer in group.layers]).sum(0)
    tiny = torch.finfo(torch.float32).tiny
    scale = ((spread + tiny) / (columns + tiny)).pow(0.25)
    scale = (scale / scale.log().mean().exp()).clamp(1 / LARGEST, LARGEST)
    return shift, scale


def find_norm_groups(network: nn.Module, pictures: Sequence[Tensor]) -> list[NormGroup]:
    """Return the norms of a network, quantizers off, that nothing but quantized linear layers reads.

    Args:
        network: in eval mode.
        pictures: inputs that each of them is held against.
    """
    found = _candidates(network, pictures[0])
    for picture in pictures:
        found = _proven(network, picture, found)
    return found


def _candidates(network: nn.Module, batch: Tensor) -> list[NormGroup]:
    """Return each norm with the layers whose input vectors are those that it put out."""
    put_out: list[tuple[str, Tensor]] = []
    calls: Counter[str] = Counter()
    fed: dict[str, list[QuantLinear]] = {}
    seen: set[int] = set()

    def after(name: str, norm: nn.Module, output: Tensor) -> None:
        width = norm.weight.numel()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        axes = {axis % output.dim() for axis in (-1, 1) if output.shape[axis] == width}  # both in a 64x64 picture
        put_out.extend((name, _signature(output.movedim(axis, -1))) for axis in axes)
        calls[name] += 1

    def before(layer: Any, given: Tensor) -> None:
        signature = _signature(layer.vectors(given))
        for name, other in reversed(put_out):
            if other.shape == signature.shape and torch.allclose(other, signature, rtol=1e-9, atol=1e-12):
                if id(layer) not in seen:
                    fed.setdefault(name, []).append(layer)
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
    once = [name for name, count in calls.items() if count == 1 and name in fed]
    return [NormGroup(name, network.get_submodule(name), tuple(fed[name])) for name in once]


def _is_norm(module: nn.Module) -> bool:
    """Whether a module ends by multiplying and shifting channels, by all that can be seen from outside."""
    own = module._parameters
    if set(own) != {"weight", "bias"} or next(module.children(), None) is not None:
        return False
    gamma, beta = own["weight"], own["bias"]
    return gamma is not None and beta is not None and gamma.dim() == 1 and gamma.shape == beta.shape


def _signature(vectors: Tensor) -> Tensor:
    """Return what vectors (..., d) are alike in whatever their order: sorted sums of their weighted channels."""
    weights = torch.linspace(1, 2, vectors.shape[-1], dtype=torch.float64, device=vectors.device)
    return (vectors.double() @ weights).flatten().sort().values


def _proven(network: nn.Module, batch: Tensor, candidates: Sequence[NormGroup]) -> list[NormGroup]:
    """Return those whose change the network's output does not show."""
    usual = network(batch)
    allowed = SAME * float(usual.abs().max())

    def unseen(some: Sequence[NormGroup]) -> bool:
        with _as_it_was(some):
            generator = torch.Generator("cpu").manual_seed(0)
            for one in some:
                width = one.layers[0].in_features
                draws = torch.rand(2, width, generator=generator, dtype=torch.float64, device="cpu").to(batch.device)
                shift = (draws[0] - 0.5) * 2 if one.shifts else torch.zeros_like(draws[0])
                one.fold(shift, TRIAL ** (2 * draws[1] - 1))
            return bool((network(batch) - usual).abs().max() <= allowed)

    if unseen(candidates):
        return list(candidates)
    return [one for one in candidates if unseen([one])]


@contextmanager
def _as_it_was(some: Sequence[NormGroup]) -> Iterator[None]:
    """Afterwards norms and layers have the parameters that they have now."""
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
    """Return mean and mean square of each channel of what each norm's layers are given, (d,), float64."""
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
