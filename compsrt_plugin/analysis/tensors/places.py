"""Describe every quantized place of a network, weights and activations, before and after each transform."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.analysis.tensors.stream import Stream
from compsrt_plugin.analysis.tensors.tensor_statistics import Statistics, statistics_of
from compsrt_plugin.devices import forward
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import NetworkSpec, Quantizer, QuantSpec, activation_quantizers, quantized_layers
from compsrt_plugin.quant.modes import evaluating, watched
from compsrt_plugin.quant.transforms import TRANSFORMS
from compsrt_plugin.threads import executor

BEFORE = "none"
PAPER = "hadamard"
"""The transform that the CompSRT paper (arXiv 2601.21069) reports on."""

_BINS = 81  # per histogram; odd, so that zero is in the middle of a bin
ROLES = {
    "weight": "weights",
    "input": "inputs of linear layers",
    "q": "q",
    "k": "k",
    "v": "v",
    "map": "softmax maps",
    "product": "operands of other products",
}
"""Role of a place -> display name in the plural."""


@dataclass(frozen=True)
class Histogram:
    """Histogram of the sample of a place before and after the Hadamard transform, in bins of equal width.

    Attributes:
        reach: the bins span −reach to reach, in units of the root mean square before the transform.
        shares: transform -> share of the values in each bin.
    """

    reach: float
    shares: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Place:
    """One quantized tensor.

    Attributes:
        name: name of its quantizer, as in overrides.
        role: a key of `ROLES`.
        depth: number of places of the same role before it, in module order.
        width: length of a vector before any transform.
        values: number of values behind range and moments.
        sampled: number of values behind the other statistics.
        domains: transform -> statistics; `none` is the untransformed tensor.
        histogram: of the sample, for charts.
    """

    name: str
    role: str
    depth: int
    width: int
    values: int
    sampled: int
    domains: Mapping[str, Statistics]
    histogram: Histogram

    @property
    def kind(self) -> str:
        """`weights` or `activations`."""
        return "weights" if self.role == "weight" else "activations"


def analysis_spec(own: NetworkSpec | None = None) -> NetworkSpec:
    """Return the spec for analyzing a network, with quantizers wherever a transform is possible.

    Convolutions of more than one pixel have no transform and get no quantizer. The spec assigns `hadamard_softmax`
    where rows sum to 1, and `none` where the length of the axis depends on the image size.

    Args:
        own: the spec of the network. Its layers in full precision stay so.
    """
    overrides: dict[str, dict[str, Any]] = {"*.map": {"transform": "hadamard_softmax"}}
    for pattern, values in (own.overrides if own else {}).items():
        overrides[pattern] = {**overrides.get(pattern, {}), "keep": bool(values.get("keep"))}
    return NetworkSpec(
        QuantSpec(granularity="per_channel", scalar_decomposition=False),
        QuantSpec(granularity="per_token", scalar_decomposition=False),
        conv_bits=None,
        overrides=overrides,
        trunk_pointwise=(own or NetworkSpec).trunk_pointwise,
        image_sums=(own or NetworkSpec).image_sums,
    )


def transforms_of(quantizer: Quantizer) -> tuple[str, ...]:
    """Return the possible transforms of a place, `none` first."""
    own = quantizer.spec.transform
    return tuple(name for name in TRANSFORMS if own != "none" and (not TRANSFORMS[name].unit_rows or name == own)) or (
        BEFORE,
    )


@dataclass(frozen=True)
class GatheredPlace:
    """The data gathered at one place.

    Attributes:
        stream: its moments.
        role, depth: see `Place`.
        sample: vectors (n, d) in the original domain.
        fine: the finest possible granularity; None if only one scale is possible.
    """

    stream: Stream
    role: str
    depth: int
    sample: Tensor
    fine: str | None


def gather_weights(network: nn.Module) -> list[GatheredPlace]:
    """Return the data of every weight of a converted network that has a transform.

    Args:
        network: converted with `analysis_spec`, full precision.
    """
    found = []
    for depth, (name, layer) in enumerate(quantized_layers(network)):
        matrix = layer.weight_matrix().detach().float().cpu()
        stream = Stream(f"{name}.weight", transforms_of(layer.weight_quantizer))
        stream.add(matrix)
        found.append(GatheredPlace(stream, "weight", depth, matrix, "per_channel"))
    return found


def gather_activations(network: nn.Module, batches: Iterable[Tensor], seed: int = 0) -> list[GatheredPlace]:
    """Return the data of every quantized activation of a converted network, over all batches, in bounded memory.

    Quantizers that see the same tensor in the same domain, such as those of q, k and v, are one place.

    Args:
        network: converted with `analysis_spec`, full precision. Its modes are restored.
        batches: inputs (1, c, h, w) of the network, one forward pass each.
        seed: seed of the samples.

    Raises:
        CompSRTError: there is no batch, or an activation has NaN or infinity. The message names the place.
    """
    quantizers = {name: one for name, one in activation_quantizers(network).items() if one.twin is None}
    streams = {name: Stream(name, transforms_of(quantizer), seed) for name, quantizer in quantizers.items()}
    hooks = {name: _feeding(stream) for name, stream in streams.items()}
    attached = watched(quantizers, lambda name, one: one.register_forward_pre_hook(hooks[name]))
    with attached, evaluating(network), torch.no_grad():
        for batch in batches:
            forward(network, batch)
    found, depths = [], dict.fromkeys(ROLES, 0)
    for name, stream in streams.items():
        if stream.moments[BEFORE].count == 0:
            raise CompSRTError(f"no value reached {name}", hint="give images: --images FOLDER")
        role = role_of(name)
        fine = "per_token" if quantizers[name].spec.granularity == "per_token" else None
        found.append(GatheredPlace(stream, role, depths[role], stream.sample.vectors.cpu(), fine))
        depths[role] += 1
    return found


def describe_places(gathered: Sequence[GatheredPlace], progress: Any = iter) -> list[Place]:
    """Return the statistics of all places in the given order, computed in parallel with one place per core.

    Args:
        gathered: from `gather_weights` and `gather_activations`.
        progress: wraps a list, as `tqdm` does.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small for two threads, and there are many
    try:
        with executor(threads) as pool:
            running = [pool.submit(_described, one) for one in gathered]
            return [one.result() for one in progress(running)]
    finally:
        torch.set_num_threads(threads)


def role_of(name: str) -> str:
    """Return the role of a quantizer from the last part of its name.

    >>> role_of("layers.0.mlp.fc1.input"), role_of("layers.0.attn.map"), role_of("mix.left")
    ('input', 'map', 'product')
    """
    last = name.rpartition(".")[2]
    return last if last in ROLES else "product"


def _feeding(stream: Stream) -> Callable[[Quantizer, tuple[Tensor]], None]:
    """Return a forward pre-hook that adds the input of a quantizer to the stream."""

    def hook(_quantizer: Quantizer, inputs: tuple[Tensor]) -> None:
        try:
            stream.add(inputs[0])
        except ValueError as error:
            raise CompSRTError(f"{stream.name}: {error}", hint="use other weights or images") from error

    return hook


def _described(gathered: GatheredPlace) -> Place:
    stream, sample = gathered.stream, gathered.sample
    domains = {
        transform: statistics_of(stream.name, sample, moments, transform, gathered.fine)
        for transform, moments in stream.moments.items()
    }
    return Place(
        name=stream.name,
        role=gathered.role,
        depth=gathered.depth,
        width=sample.shape[1],
        values=stream.moments[BEFORE].count,
        sampled=sample.numel(),
        domains=domains,
        histogram=_histogram(sample, [name for name in (BEFORE, PAPER) if name in domains]),
    )


def _histogram(sample: Tensor, transforms: Sequence[str]) -> Histogram:
    unit = float(sample.square().mean().sqrt()) or 1.0
    values = {name: TRANSFORMS[name].forward(sample).flatten() / unit for name in transforms}
    reach = max(1.0, *(float(one.abs().max()) for one in values.values()))
    shares = {name: (torch.histc(one, _BINS, -reach, reach) / one.numel()).tolist() for name, one in values.items()}
    return Histogram(reach, shares)
