"""Multiply-adds and bit operations of a network, product by product.

    MACs     = output vectors · rows · columns                  of a weight; kept rows and columns only
             = windows · tokens² · channels, twice               of attention: q k^T and map · v
    BitOPs   = Σ MACs · b_w · b_a                                plain; 32 where an operand is not quantized
    as papers on super-resolution count (CADyQ, ECCV 2022):      Σ MACs · (b_w / 32) · (b_a / 32)

MACs are those of the network as it was defined: zero padding of the Hadamard transform (60 → 64 columns) and the
transform itself, m log2 m additions a vector, do not count. Weights pruned one by one do not save any; whole rows
and columns do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compsrt_plugin.quant import QuantConv2d, QuantizedLayer, QuantLinear, padded_width

FLOAT_BITS = 32


@dataclass(frozen=True)
class Product:
    """One kind of product.

    Attributes:
        name: of the layer, or of the attention with `.qk` or `.mapv`.
        macs: multiply-adds, whole channels that are pruned left out.
        float_macs: the same without pruning.
        bits: of its two operands (weight first).
    """

    name: str
    macs: int
    float_macs: int
    bits: tuple[int, int]

    @property
    def bitops(self) -> int:
        """Plain bit operations, MACs · b_w · b_a."""
        return self.macs * self.bits[0] * self.bits[1]


def count_products(
    network: nn.Module, height: int, width: int, kept: Mapping[str, tuple[int, int]] | None = None
) -> list[Product]:
    """Count every product of one forward pass; nothing is computed, so the picture may be of any size.

    Args:
        network: quantized, with quantizers off, not frozen; it is moved to torch's `meta` device for good.
        height, width: of the low-resolution picture; both grow to whole windows, as `basicsr test` pads.
        kept: layer name -> how many (rows, columns) are not pruned as a whole; all, where a layer is left out.
    """
    window = int(getattr(network, "window_size", 1))
    height, width = (-(-side // window) * window for side in (height, width))
    kept = kept or {}
    found: list[Product] = []

    def watch(name: str, module: nn.Module) -> None:
        def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found.extend(_products(name, module, inputs[0], output, kept.get(name)))

        module.register_forward_hook(count)

    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, QuantizedLayer)) or hasattr(module, "map_quantizer"):
            watch(name, module)
    with torch.no_grad():
        network.to("meta").eval()(torch.empty(1, 3, height, width, device="meta"))
    return found


def _products(
    name: str, module: nn.Module, x: Tensor, output: Tensor, kept: tuple[int, int] | None
) -> list[Product]:
    if hasattr(module, "map_quantizer"):
        windows, tokens, channels = x.shape
        macs = windows * tokens**2 * channels
        q, k, v, attention_map = (_bits(getattr(module, f"{operand}_quantizer")) for operand in ("q", "k", "v", "map"))
        return [Product(f"{name}.qk", macs, macs, (q, k)), Product(f"{name}.mapv", macs, macs, (attention_map, v))]
    if isinstance(module, QuantizedLayer):
        shape = module.weight_shape
        activation = module.input_quantizer.spec.bits if isinstance(module, QuantLinear) else FLOAT_BITS
        bits = (module.weight_quantizer.spec.bits, activation)
    elif isinstance(module, (nn.Linear, nn.Conv2d)):
        shape, bits = module.weight.shape, (FLOAT_BITS, FLOAT_BITS)
    else:
        raise TypeError(f"no count for {type(module).__name__}")
    rows, columns = shape[0], shape[1:].numel()
    conv = isinstance(module, (nn.Conv2d, QuantConv2d))
    vectors = output.numel() // rows
    float_macs = vectors * rows * columns
    if kept is None or conv:
        return [Product(name, float_macs, float_macs, bits)]
    # Columns of the domain are more than the layer's own: pruned ones are taken off in proportion.
    domain = padded_width(columns) if _transformed(module) else columns
    return [Product(name, round(vectors * kept[0] * columns * kept[1] / domain), float_macs, bits)]


def _bits(quantizer: nn.Module | None) -> int:
    return FLOAT_BITS if quantizer is None else getattr(quantizer, "spec").bits  # noqa: B009  (any quantizer has one)


def _transformed(module: nn.Module) -> bool:
    return isinstance(module, QuantLinear) and module.weight_quantizer.spec.transform != "none"
