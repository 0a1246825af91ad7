"""Static 8-bit integers in a float graph: linear layers as ONNX Runtime and OpenVINO run them on integer kernels.

    x ≈ s (r - z), r unsigned 8 bits, bounds searched on images      QuantizeLinear, DequantizeLinear
    w ≈ t r,       r signed, one t for each output                   DequantizeLinear

Only products with a constant matrix are quantized. Products within attention, softmax, norms and convolutions stay in
floats: docs/notes/onnx.md has what each of them gains and costs. Values are rounded where they are computed, before
they are moved about (gathered to windows, transposed), so that bytes are moved and the rounding merges with the norm or
the activation function.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.onnx.graph import Graph, evaluated
from compsrt_plugin.quant import BOUND_SEARCHES, Samples

BITS = 8
# Seven bits: without VNNI, x86 adds pairs of products of unsigned and signed bytes in 16 bits; 2 * 255 * 127 overflows
LARGEST_WEIGHT = 63
SEARCH = "dobi"
MOVES = ("Gather", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
SMALLEST = np.float32(1e-8)


def int8_model(model: Any, images: Iterable[Tensor]) -> Any:
    """Return the model with its linear layers on 8-bit integers.

    Args:
        model: `onnx.ModelProto` of the kind `float`.
        images: inputs (1, c, h, w) on which the bounds of activations are searched.

    Raises:
        CompSRTError: the model has no linear layer.
    """
    weights = _weights(model)
    products = {node.output[0]: node for node in model.graph.node if _is_product(node, weights)}
    if not products:
        raise CompSRTError(
            "the network has no linear layer to put on integers", hint="--onnx-kind weights stores codes"
        )
    bounds = _searched(model, sorted({node.input[0] for node in products.values()}), images)
    graph = Graph()
    values = {value.name: value.name for value in model.graph.input} | {"": ""}
    values |= {stored.name: graph.array(numpy_helper.to_array(stored), "stored") for stored in model.graph.initializer}
    for node in model.graph.node:
        inputs = [values[name] for name in node.input]
        if node.output[0] in products:
            outputs = _product(graph, node, inputs, weights, bounds[node.input[0]])
        else:
            outputs = graph.copy(node, inputs)
        values.update(zip(node.output, outputs, strict=True))
    for value in model.graph.value_info:
        graph.shaped(values[value.name], *_shape(value))
    return graph.model(
        {value.name: _shape(value) for value in model.graph.input},
        {value.name: (values[value.name], _shape(value)) for value in model.graph.output},
        {entry.key: entry.value for entry in model.metadata_props},
    )


def _weights(model: Any) -> dict[str, np.ndarray]:
    """Return the constants of a model: its initializers, and what is computed from them alone."""
    found = {stored.name: numpy_helper.to_array(stored) for stored in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Cast", "Split", "Where", "Transpose") and all(name in found for name in node.input):
            found.update(zip(node.output, evaluated(node, [found[name] for name in node.input]), strict=True))
    return found


def _is_product(node: Any, weights: dict[str, np.ndarray]) -> bool:
    if node.op_type not in ("Gemm", "MatMul") or node.input[0] in weights:
        return False
    return node.input[1] in weights and weights[node.input[1]].ndim == 2


def _searched(model: Any, names: list[str], images: Iterable[Tensor]) -> dict[str, tuple[float, float]]:
    """Return the bounds of values, searched over what they are for the images."""
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {value.name for value in model.graph.output}
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    samples = {name: Samples() for name in names}
    for image in images:
        for name, array in zip(names, session.run(names, {model.graph.input[0].name: image.numpy()}), strict=True):
            samples[name].add(torch.from_numpy(array))
    return {name: BOUND_SEARCHES[SEARCH](found, BITS) for name, found in samples.items()}


def _product(
    graph: Graph, node: Any, inputs: list[str], weights: dict[str, np.ndarray], bounds: tuple[float, float]
) -> list[str]:
    x, scale = _rounded(graph, inputs[0], bounds)
    matrix = weights[node.input[1]]
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    axis = 0 if transposed else 1  # of the outputs
    largest = np.abs(matrix).max(axis=1 - axis)
    scales = np.maximum(largest / np.float32(LARGEST_WEIGHT), SMALLEST)
    codes = np.rint(matrix / np.expand_dims(scales, 1 - axis)).astype(np.int8)
    weight = _decoded(graph, codes, scales, axis)
    if len(inputs) > 2:  # a bias in units of the sum
        steps = scales * scale
        bias = _decoded(graph, np.rint(weights[node.input[2]] / steps).astype(np.int32), steps, 0)
        return graph.copy(node, [x, weight, bias])
    return graph.copy(node, [x, weight])


def _rounded(graph: Graph, x: str, bounds: tuple[float, float]) -> tuple[str, np.float32]:
    """Return x on its grid, and the scale; zero is on the grid."""
    lower, upper = min(bounds[0], 0.0), max(bounds[1], 0.0)
    scale = max(np.float32((upper - lower) / (2**BITS - 1)), SMALLEST)
    zero_point = np.uint8(round(min(-lower / scale, 2.0**BITS - 1)))
    grid = graph.plain(scale, "scale"), graph.plain(zero_point, "zero_point")
    moves = []
    while (producer := graph.producer(x)) is not None and producer.op_type in MOVES:
        moves.append(producer)
        x = producer.input[0]
    x = graph.op("QuantizeLinear", x, *grid)
    for move in reversed(moves):
        (x,) = graph.copy(move, [x, *move.input[1:]])
    return graph.op("DequantizeLinear", x, *grid), scale


def _decoded(graph: Graph, codes: np.ndarray, scales: np.ndarray, axis: int) -> str:
    zero = np.zeros(scales.shape, codes.dtype)
    parts = [graph.plain(array, name) for array, name in ((codes, "codes"), (scales, "scale"), (zero, "zero_point"))]
    return graph.op("DequantizeLinear", *parts, axis=axis)


def _shape(value: Any) -> list[int | str]:
    return [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
