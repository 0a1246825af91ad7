"""Count the multiply-adds and bit operations of a network, product by product.

    MACs     = output vectors · rows · columns                  of a weight; kept rows and columns only
             = windows · tokens² · channels, twice               of window attention: q k^T and map · v
             = rows · contracted axis · columns                  of any other product of two tensors
    BitOPs   = Σ MACs · b_w · b_a                                32 for an unquantized operand
    as papers on super-resolution count (CADyQ, ECCV 2022):      Σ MACs · (b_w / 32) · (b_a / 32)

MACs are those of the network as defined. The zero padding of the Hadamard transform (60 → 64 columns) and the transform
itself, m log2 m additions per vector, are not counted. Pruning single weights saves no MACs, pruning whole rows and
columns does.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compsrt_plugin.devices import example
from compsrt_plugin.quant import FunctionalLinear, QuantConv2d, QuantizedLayer, QuantLinear, padded_width
from compsrt_plugin.quant.tracing.interception import Intercepting, quantizers_of
from compsrt_plugin.quant.tracing.probe import Call, ForwardPass, record_forward
from compsrt_plugin.report.results import FLOAT_BITS

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Product:
    """One kind of product.

    Attributes:
        name: name of the layer, or of the multiplying module with `.qk`, `.mapv` or `.product`.
        macs: multiply-adds without pruned rows and columns.
        float_macs: multiply-adds without pruning.
        bits: code widths of the two operands (weight first).
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
    """Return every product of one forward pass. Nothing is computed, so the image may have any size.

    A wrapped network whose code needs values is really run.

    Args:
        network: with quantizers off or without quantizers, not frozen.
        height, width: of the low-resolution image. Both are rounded up to whole windows, as `basicsr test` pads.
        kept: layer name -> number of (rows, columns) that are not pruned; all for layers that are not listed.
    """
    window = int(getattr(network, "window_size", 1))
    height, width = (-(-side // window) * window for side in (height, width))
    kept = kept or {}
    found: list[Product] = []
    counted = copy.deepcopy(network)

    def watch(name: str, module: nn.Module) -> None:
        def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found.extend(_products(name, module, inputs[0], output, kept.get(name)))

        module.register_forward_hook(count)

    for name, module in counted.named_modules():
        # The weight of such a layer may have moved to a child, which is counted instead.
        hollow = any(isinstance(child, FunctionalLinear) for child in module.children())
        layer = isinstance(module, (nn.Linear, *CONVOLUTIONS, QuantizedLayer)) and not hollow
        if layer or _is_attention(module):
            watch(name, module)
    shape = (1, getattr(network, "channels", 3), height, width)
    passed = _run(counted, torch.empty(shape, dtype=torch.float32, device="meta"), found)
    for call in passed.calls:
        module = counted.get_submodule(call.module)
        if not _is_attention(module):
            found.extend(_calls(call, module))
    direct = passed.direct.items()
    return found + [Product(f"{name}.linear", macs, macs, (FLOAT_BITS, FLOAT_BITS)) for name, macs in direct]


def _run(network: nn.Module, image: Tensor, found: list[Product]) -> ForwardPass:
    try:
        return record_forward(copy.deepcopy(network).to("meta"), image)
    except Exception:  # foreign code may raise anything where tensors hold no values
        found.clear()
        where = example(network)
        return record_forward(network, torch.zeros_like(image, device="cpu" if where is None else where.device))


def _is_attention(module: nn.Module) -> bool:
    """Return whether a module is an attention with four operands, like SwinIR's, that has its own rule."""
    return hasattr(module, "map_quantizer") and not isinstance(module, Intercepting)


def _calls(call: Call, module: nn.Module) -> list[Product]:
    """Return the product of a call in a module's own code, or both products of an attention in one call."""
    bits = [FLOAT_BITS] * (2 if len(call.shapes) == 2 else 4)
    names = [] if len(call.shapes) > 2 else ["product"]
    if isinstance(module, Intercepting) and module.sites[call.index].operands:
        site = module.sites[call.index]
        bits = [_bits(quantizer) for quantizer in quantizers_of(module, site)]
        operands = {operand.name.rpartition(".")[2] for operand in site.operands}
        if len(operands) == 2 and "left" not in operands:
            names = ["mapv" if "map" in operands else "qk"]
    number = f"{call.index}" if call.index > 1 else ""
    if names:
        return [Product(f"{call.module}.{names[0]}{number}", call.macs, call.macs, (bits[0], bits[1]))]
    depth = call.shapes[0][-1]
    qk = call.macs * depth // (depth + call.shapes[2][-1])
    mapv = call.macs - qk
    return [
        Product(f"{call.module}.qk{number}", qk, qk, (bits[0], bits[1])),
        Product(f"{call.module}.mapv{number}", mapv, mapv, (bits[2], bits[3])),
    ]


def _products(name: str, module: nn.Module, x: Tensor, output: Tensor, kept: tuple[int, int] | None) -> list[Product]:
    if _is_attention(module):
        windows, tokens, channels = x.shape
        macs = windows * tokens**2 * channels
        q, k, v, attention_map = (_bits(getattr(module, f"{operand}_quantizer")) for operand in ("q", "k", "v", "map"))
        return [Product(f"{name}.qk", macs, macs, (q, k)), Product(f"{name}.mapv", macs, macs, (attention_map, v))]
    if isinstance(module, QuantizedLayer):
        shape = module.weight_shape
        bits = (module.weight_quantizer.spec.bits, _bits(getattr(module, "input_quantizer", None)))
    elif isinstance(module, nn.ConvTranspose2d):
        macs = x.numel() // module.in_channels * module.weight.numel()
        return [Product(name, macs, macs, (FLOAT_BITS, FLOAT_BITS))]
    elif isinstance(module, (nn.Linear, *CONVOLUTIONS)):
        shape, bits = module.weight.shape, (FLOAT_BITS, FLOAT_BITS)
    else:
        raise TypeError(f"no count for {type(module).__name__}")
    rows, columns = shape[0], shape[1:].numel()
    conv = isinstance(module, (*CONVOLUTIONS, QuantConv2d))
    vectors = output.numel() // max(1, rows)
    float_macs = vectors * rows * columns
    if kept is None or conv:
        return [Product(name, float_macs, float_macs, bits)]
    # The domain has more columns than the layer, so pruned columns are deducted in proportion.
    domain = padded_width(columns) if _transformed(module) else columns
    return [Product(name, round(vectors * kept[0] * columns * kept[1] / domain), float_macs, bits)]


def _bits(quantizer: nn.Module | None) -> int:
    return FLOAT_BITS if quantizer is None else getattr(quantizer, "spec").bits  # noqa: B009  (any quantizer has one)


def _transformed(module: nn.Module) -> bool:
    return isinstance(module, QuantLinear) and module.weight_quantizer.spec.transform != "none"
