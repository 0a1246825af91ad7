"""Make twins of a packed network without the mask or without the transform, to measure the cost of each.

A twin has the same layers and shapes and is a packed file, so that every way can run it. Its output is meaningless;
only its time is measured.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compsrt_plugin.packed.network_state import save_network
from compsrt_plugin.packed.open import PackedNetwork, decoded_network, open_packed
from compsrt_plugin.quant import Mode, NetworkSpec, freeze, named_quantizers, quantized_layers, set_mode


def pruned_share(source: PackedNetwork) -> float:
    """Return the share of pruned codes in the layers that have a mask, 0 without any."""
    layers = [layer for _, layer in quantized_layers(source.network)]
    masks = [layer.weight_mask for layer in layers if layer.weight_mask is not None]
    codes = sum(mask.numel() for mask in masks)
    return sum(int((~mask).sum()) for mask in masks) / codes if codes else 0.0


def without_mask(source: PackedNetwork, path: Path) -> PackedNetwork | None:
    """Return the network with full masks, written to `path`; None if it has no masks."""
    if not pruned_share(source):
        return None
    network = copy.deepcopy(source.network)
    for _, layer in quantized_layers(network):
        layer.weight_mask = None
    save_network(path, network, source.packed.header)
    return open_packed(path)


def without_transform(source: PackedNetwork, path: Path) -> PackedNetwork | None:
    """Return the network without masks and transforms, written to `path`; None if it has no transforms."""
    given = source.header.spec.to_dict()
    spec = _without_transform(given)
    if spec == given:
        return None
    network: Any = decoded_network(source)
    network.quantize(NetworkSpec.from_dict(spec))
    for _, quantizer in named_quantizers(network):
        quantizer.set_bounds(-1.0, 1.0)
    set_mode(network, Mode.ON)
    freeze(network)
    save_network(path, network, {**source.packed.header, "spec": spec})
    return open_packed(path)


def _without_transform(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_transform(value) if isinstance(value, Mapping) else "none" if key == "transform" else value
        for key, value in values.items()
    }
