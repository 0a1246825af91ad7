"""Quantized weights as ONNX nodes: codes as integer initializers, decoded where the graph is loaded or run.

decoded     DequantizeLinear(codes, s) + Z, times the mask of a pruned weight: the weight in its domain. Z is no
            multiple of s, so it is a term of its own and not the integer zero point of DequantizeLinear.
from_codes  the same, taken back from the domain by a product with the transform's matrix: the weight itself
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from compsrt_plugin.onnx.graph import Graph
from compsrt_plugin.packed.dense import dense_weight
from compsrt_plugin.quant import QuantizedLayer
from compsrt_plugin.quant.transforms import TRANSFORMS

CPU = torch.device("cpu")

WeightWriter = Callable[[Graph, QuantizedLayer, str], str]
"""Writes the weight of a frozen layer of some name, in the shape of its parameter."""


def in_floats(graph: Graph, layer: QuantizedLayer, name: str) -> str:
    """Write the decoded weight as a float initializer."""
    return graph.constant(dense_weight(layer), f"{name}.weight")


def from_codes(graph: Graph, layer: QuantizedLayer, name: str) -> str:
    """Write the weight as codes and the nodes that decode them."""
    columns = layer.weight_shape[1:].numel()
    weight = inverse(graph, layer.weight_quantizer.spec.transform, decoded(graph, layer, name), columns)
    return weight if len(layer.weight_shape) == 2 else graph.op("Reshape", weight, graph.integers(*layer.weight_shape))


def decoded(graph: Graph, layer: QuantizedLayer, name: str) -> str:
    """Write the codes of a frozen layer and return its weight in its domain, (rows, m)."""
    codes, mask = layer.weight_codes, layer.weight_mask
    assert codes is not None, "the network is frozen"
    scale, zero_point = layer.weight_quantizer.scale_and_zero_point()
    if layer.weight_offset is not None:
        codes = codes.int() + int(layer.weight_offset)
    inputs = [graph.codes(codes, f"{name}.codes"), graph.constant(scale.flatten() if scale.ndim else scale, "scale")]
    weight = graph.op("DequantizeLinear", *inputs, axis=0)
    weight = graph.op("Add", weight, graph.constant(zero_point, "zero_point"))
    return weight if mask is None else graph.op("Mul", weight, _mask(graph, mask, name))


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
    return graph.op("DequantizeLinear", graph.codes(mask.to(torch.uint8), f"{name}.mask"), graph.constant(1.0))
