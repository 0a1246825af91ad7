"""Quantized weights as ONNX nodes: codes as integer initializers, decoded where the graph is loaded.

decoded     Cast(codes) * s + Z, times the mask of a pruned weight: the weight in its domain. Runtimes compute nodes of
            constants when they load a file, but ONNX Runtime computes DequantizeLinear at each run.
from_codes  the same, taken back from the domain by a product with the transform's matrix: the weight itself
stacked     the same for layers of equal width, whose codes are one matrix; nodes for each take more bytes than scales
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from onnx import TensorProto
from torch import Tensor

from compsrt_plugin.onnx.graph import Graph
from compsrt_plugin.packed.dense import dense_weight
from compsrt_plugin.quant import QuantizedLayer
from compsrt_plugin.quant.fake import scale_of_bounds
from compsrt_plugin.quant.transforms import TRANSFORMS

CPU = torch.device("cpu")

WeightWriter = Callable[[Graph, QuantizedLayer, str], str]
"""Writes the weight of a frozen layer of some name, in the shape of its parameter."""


def in_floats(graph: Graph, layer: QuantizedLayer, name: str) -> str:
    """Write the decoded weight as a float initializer."""
    return graph.constant(dense_weight(layer), f"{name}.weight")


def from_codes(graph: Graph, layer: QuantizedLayer, name: str) -> str:
    """Write the weight as codes and the nodes that decode them."""
    return _written(graph, [(name, layer)])[0]


def stacked(layers: Iterable[tuple[str, QuantizedLayer]]) -> WeightWriter:
    """Return what writes the weights of these layers as codes, those of equal width and kind as one matrix.

    Args:
        layers: (name, layer) of all that will be written.
    """
    stacks: dict[Any, list[tuple[str, QuantizedLayer]]] = {}
    for name, layer in layers:
        spec, masked = layer.weight_quantizer.spec, layer.weight_mask is not None
        kind = spec.transform, spec.bits, layer.weight_shape[1:].numel()
        stacks.setdefault((*kind, name if masked else ""), []).append((name, layer))
    written: dict[Graph, dict[str, str]] = {}

    def weight(graph: Graph, layer: QuantizedLayer, name: str) -> str:
        if graph not in written:
            found = written[graph] = {}
            for stack in stacks.values():
                found.update(zip((name for name, _ in stack), _written(graph, stack), strict=True))
        return written[graph][name]

    return weight


def _written(graph: Graph, stack: Sequence[tuple[str, QuantizedLayer]]) -> list[str]:
    """Write weights of equal width and kind and return them."""
    layers = [layer for _, layer in stack]
    spec, columns = layers[0].weight_quantizer.spec, layers[0].weight_shape[1:].numel()
    name = stack[0][0] if len(stack) == 1 else f"{len(stack)}_layers_{columns}"
    whole = inverse(graph, spec.transform, decoded(graph, layers, name), columns)
    parts = graph.split(whole, [layer.weight_shape[0] for layer in layers])
    return [
        part if len(layer.weight_shape) == 2 else graph.op("Reshape", part, graph.integers(*layer.weight_shape))
        for layer, part in zip(layers, parts, strict=True)
    ]


def _codes_of(layer: QuantizedLayer) -> Tensor:
    """Return the codes of a frozen layer, (rows, m)."""
    assert layer.weight_codes is not None, "the network is frozen"
    return layer.weight_codes if layer.weight_offset is None else layer.weight_codes.int() + int(layer.weight_offset)


def decoded(graph: Graph, layers: Sequence[QuantizedLayer], name: str) -> str:
    """Write the codes of frozen layers, the rows of one below those of another; return the weight in its domain.

    Args:
        graph: to write to.
        layers: of the same transform, bits and m. One that has a mask is alone.
        name: of the codes.
    """
    codes = torch.cat([_codes_of(layer) for layer in layers])
    weight = graph.op("Cast", graph.codes(codes, f"{name}.codes"), to=TensorProto.FLOAT)
    weight = graph.op("Mul", weight, _scale(graph, layers))
    zero_points = [_column(layer.weight_quantizer.scale_and_zero_point()[1], layer) for layer in layers]
    weight = graph.op("Add", weight, graph.constant(torch.cat(zero_points), "zero_point"))
    mask = layers[0].weight_mask
    return weight if mask is None else graph.op("Mul", weight, _mask(graph, mask, name))


def _scale(graph: Graph, layers: Sequence[QuantizedLayer]) -> str:
    """Write a scale for each row, (rows, 1): as (u - l) / (2^bits - 1) of the bounds, which files hold in float16."""
    quantizers = [layer.weight_quantizer for layer in layers]
    pairs = list(zip(quantizers, layers, strict=True))
    scale = torch.cat([_column(quantizer.scale_and_zero_point()[0], layer) for quantizer, layer in pairs])
    lower, upper = (torch.cat([_column(getattr(q, end), layer) for q, layer in pairs]) for end in ("lower", "upper"))
    bits = quantizers[0].spec.bits
    if not torch.equal(scale, scale_of_bounds(lower, upper, bits)):  # of a decomposition, or of bounds that are equal
        return graph.constant(scale, "scale")
    difference = graph.op("Sub", graph.constant(upper, "upper"), graph.constant(lower, "lower"))
    return graph.op("Div", difference, graph.constant(float(2**bits - 1)))


def _column(values: Tensor, layer: QuantizedLayer) -> Tensor:
    """Return one value or one for each row as one for each row, (rows, 1)."""
    return values.detach().float().reshape(-1, 1).expand(layer.weight_shape[0], 1)


def inverse(graph: Graph, kind: str, x: str, width: int) -> str:
    """Take x back from the domain of the transform called `kind`: (..., width)."""
    domain = TRANSFORMS[kind]
    if domain.build is None:
        return x
    x = graph.op("MatMul", x, graph.constant(domain.matrix(width, CPU, torch.float64).T, kind))
    return x if domain.offset is None else graph.op("Add", x, graph.constant(domain.offset(width), kind))


def _mask(graph: Graph, mask: Tensor, name: str) -> str:
    """Return a mask as 0 and 1 in float32; a mask of whole rows or columns is stored as a vector."""
    for axis in (0, 1):
        line = mask.narrow(axis, 0, 1)
        if torch.equal(mask, line.expand_as(mask)):
            return graph.constant(line.float(), "mask")
    return graph.op("Cast", graph.codes(mask.to(torch.uint8), f"{name}.mask"), to=TensorProto.FLOAT)
