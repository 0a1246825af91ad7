"""Convert a quantized network to ordinary weights in the original domain, for tools that do not know codes."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from compsrt_plugin.quant import FunctionalLinear, QuantizedLayer, Quantizer

_PARTS = re.compile(r"(.*\.qkv)\.q\.(weight|bias)")


def dense_weight(layer: QuantizedLayer) -> Tensor:
    """Return the dequantized weight of a layer in the original domain, in the shape of its parameter."""
    columns = layer.weight_shape[1:].numel()
    with torch.no_grad():
        matrix = layer.weight_quantizer.inverse(layer.quantized_matrix(), columns)
    return matrix.reshape(layer.weight_shape)


def parameter_name(name: str, layer: QuantizedLayer) -> str:
    """Return the full-precision network's name for the weight of the layer called `name`."""
    parameter = layer.parameter if isinstance(layer, FunctionalLinear) else None
    return parameter or f"{name}.weight"


def dense_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the network's dequantized weights under the names of the full-precision network.

    A weight is decoded, masked, and transformed back: W = crop((s r + Z) H / √m). The linear layers q, k and v become
    one `qkv` again. Activation quantizers are left out, so the result computes x W^T with full-precision x. Its output
    differs from that of the simulated network.

    Args:
        network: a calibrated or frozen network with its quantizers on.

    Returns:
        Tensors by name, on the CPU.
    """
    state: dict[str, Tensor] = {}
    places = list(network.named_modules(remove_duplicate=False))  # a layer may have several names
    skipped = tuple(f"{name}." for name, module in places if isinstance(module, Quantizer))
    layers = {name: module for name, module in places if isinstance(module, QuantizedLayer)}
    for name, layer in layers.items():
        state[parameter_name(name, layer)] = dense_weight(layer)
    own = {f"{name}.{part}" for name in layers for part in ("weight", "weight_codes", "weight_mask", "weight_offset")}
    for name, value in network.state_dict().items():
        if name not in own and not name.startswith(skipped):
            state[name] = value
    for name in list(state):
        match = _PARTS.fullmatch(name)
        if match:
            state[f"{match[1]}.{match[2]}"] = torch.cat([state.pop(f"{match[1]}.{p}.{match[2]}") for p in "qkv"])
    return {name: value.detach().cpu().clone() for name, value in state.items()}
