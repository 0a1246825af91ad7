"""Find the quantizers and quantized layers of a converted network, set their mode, freeze them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from compsrt_plugin.quant.quantized_layer import QuantizedLayer
from compsrt_plugin.quant.quantizer import Mode, Quantizer

_SUFFIX = "_quantizer"


def named_quantizers(network: nn.Module) -> Iterator[tuple[str, Quantizer]]:
    """Yield (name, quantizer) in module order; names as in overrides: `….fc2.input`, `….attn.map`."""
    for name, module in network.named_modules():
        if isinstance(module, Quantizer):
            yield name[: -len(_SUFFIX)] if name.endswith(_SUFFIX) else name, module


def quantized_layers(network: nn.Module) -> Iterator[tuple[str, QuantizedLayer]]:
    """Yield (name, layer) of every layer with a quantized weight, in module order."""
    for name, module in network.named_modules():
        if isinstance(module, QuantizedLayer):
            yield name, module


def activation_quantizers(network: nn.Module) -> dict[str, Quantizer]:
    """Return every activation quantizer by name, in module order."""
    weights = {layer.weight_quantizer for _, layer in quantized_layers(network)}
    return {name: q for name, q in named_quantizers(network) if q not in weights}


def set_mode(network: nn.Module, mode: Mode) -> None:
    """Set the mode of every quantizer of the network."""
    for _, quantizer in named_quantizers(network):
        quantizer.mode = mode


def freeze(network: nn.Module) -> nn.Module:
    """Replace every quantized weight by its integer codes, in place; outputs stay equal to the bit.

    Raises:
        CompSRTError: published codes of a layer span more than the 256 values of a byte.
    """
    for _, layer in quantized_layers(network):
        layer.freeze()
    return network
