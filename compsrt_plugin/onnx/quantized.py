"""Quantizers and products as ONNX nodes: the formulas of `quant.fake`, operation for operation.

activation  strict codes: Clip(Round((x - Z) / s), 0, N) * s + Z; paper codes: Round((Clip(x, l, u) - Z) / s) * s + Z.
            ONNX rounds halves to even, as torch does. Per-token s and Z are multiples of ReduceMax(|x|).
transform   MatMul with the matrix of the transform

Where the quantizers are off, layers and products are those of the full-precision network.
"""

from __future__ import annotations

import torch
from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.onnx.graph import Graph
from compsrt_plugin.onnx.weights import CPU, WeightWriter, decoded, inverse
from compsrt_plugin.quant import Mode, QuantConv2d, Quantizer, QuantLinear
from compsrt_plugin.quant.fake import MIN_SCALE
from compsrt_plugin.quant.matmul import share_domain
from compsrt_plugin.quant.transforms import TRANSFORMS

ONNX_CODES = ("strict", "paper")


def add_quantization(graph: Graph, quantizer: Quantizer, x: str) -> str:
    """Fake-quantize x (..., m), already in the domain of the quantizer.

    Raises:
        CompSRTError: ONNX has no form of the quantizer's code mode.
    """
    if quantizer.spec.codes not in ONNX_CODES:
        found = f"{quantizer.name} has codes: {quantizer.spec.codes}"
        raise CompSRTError(found, allowed=f"{', '.join(ONNX_CODES)} in an ONNX file")
    scale, zero_point = (graph.constant(value) for value in quantizer.scale_and_zero_point())
    if quantizer.per_token:
        largest = graph.op("ReduceMax", graph.op("Abs", x), graph.integers(-1), keepdims=1)
        unit = graph.op("Max", largest, graph.constant(MIN_SCALE))
        scale, zero_point = graph.op("Mul", scale, unit), graph.op("Mul", zero_point, unit)
    if quantizer.spec.codes == "paper":
        x = graph.op("Clip", x, graph.constant(quantizer.lower), graph.constant(quantizer.upper))
    x = graph.op("Round", graph.op("Div", graph.op("Sub", x, zero_point), scale))
    if quantizer.spec.codes == "strict":
        x = graph.op("Clip", x, graph.constant(0.0), graph.constant(float(quantizer.spec.levels - 1)))
    return graph.op("Add", graph.op("Mul", x, scale), zero_point)


def transform(graph: Graph, kind: str, x: str, width: int) -> str:
    """Take x (..., width) to the domain of the transform called `kind`."""
    domain = TRANSFORMS[kind]
    if domain.build is None:
        return x
    return graph.op("MatMul", x, graph.constant(domain.matrix(width, CPU, torch.float64), kind))


def add_quantizer(graph: Graph, quantizer: Quantizer | None, x: str, width: int) -> str:
    """Return the output of `Quantizer.forward` for x (..., width); x itself in full precision."""
    if quantizer is None or quantizer.mode is not Mode.ON:
        return x
    kind = quantizer.spec.transform
    return inverse(graph, kind, add_quantization(graph, quantizer, transform(graph, kind, x, width)), width)


def matmul(
    graph: Graph, left: str, right: str, quantizers: tuple[Quantizer | None, Quantizer | None], width: int
) -> str:
    """Return left @ right^T of (..., n, width) and (..., m, width), five axes each; see `quant.matmul.product`."""
    a, b = quantizers
    if share_domain(a, b):
        assert a is not None and b is not None
        left = add_quantization(graph, a, transform(graph, a.spec.transform, left, width))
        right = add_quantization(graph, b, transform(graph, b.spec.transform, right, width))
    else:
        left, right = add_quantizer(graph, a, left, width), add_quantizer(graph, b, right, width)
    return graph.op("MatMul", left, graph.op("Transpose", right, perm=[0, 1, 2, 4, 3]))


def linear(graph: Graph, layer: nn.Module, x: str, name: str, weights: WeightWriter) -> str:
    """Return the output of a linear layer, quantized or in full precision, for rows x (n, in_features)."""
    assert isinstance(layer, (QuantLinear, nn.Linear))
    if isinstance(layer, nn.Linear):
        weight = graph.constant(layer.weight, f"{name}.weight")
    elif share_domain(layer.input_quantizer, layer.weight_quantizer):
        quantizer = layer.input_quantizer
        x = add_quantization(graph, quantizer, transform(graph, quantizer.spec.transform, x, layer.in_features))
        weight = decoded(graph, [layer], name)
    else:
        x = add_quantizer(graph, layer.input_quantizer, x, layer.in_features)
        weight = weights(graph, layer, name)
    bias = [] if layer.bias is None else [graph.constant(layer.bias, f"{name}.bias")]
    return graph.op("Gemm", x, weight, *bias, transB=1)


def convolution(graph: Graph, conv: nn.Module, x: str, name: str, weights: WeightWriter) -> str:
    """Return the output of a convolution of stride 1, quantized or in full precision, for x (b, c, h, w)."""
    assert isinstance(conv, (QuantConv2d, nn.Conv2d))
    if isinstance(conv, nn.Conv2d):
        shape, weight = conv.weight.shape, graph.constant(conv.weight, f"{name}.weight")
    else:
        shape, weight = conv.weight_shape, weights(graph, conv, name)
        if conv.input_quantizer is not None and conv.input_quantizer.mode is Mode.ON:
            x = add_quantization(graph, conv.input_quantizer, x)
    inputs = [x, weight] if conv.bias is None else [x, weight, graph.constant(conv.bias, f"{name}.bias")]
    assert not isinstance(conv.padding, str)
    return graph.op("Conv", *inputs, kernel_shape=list(shape[2:]), pads=[*conv.padding, *conv.padding])
