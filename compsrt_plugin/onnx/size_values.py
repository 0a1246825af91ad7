"""Values of a graph that follow from the image's size alone: equal ones are found by computing them.

Code derives shapes, index tables and masks from the image's size in every block anew, and a trace has other nodes for
each. What is equal at several sizes, the smallest among them, is taken for equal at all; the finished graph is compared
with the network at further sizes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx

SIZE_OF = ("Shape", "Size")


def equal_values(
    model: onnx.ModelProto, image: str, images: Iterable[np.ndarray]
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return what a graph computes of the image's size more often than needed.

    Args:
        model: the graph, its nodes in order.
        image: name of its input.
        images: inputs of different sizes.

    Returns:
        Value -> an earlier value that equals it, and value -> what it is at every size.
    """
    import onnxruntime

    names = _size_values(model, image)
    if not names:
        return {}, {}
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    del watched.graph.node[:]
    watched.graph.node.extend(_needed(model, set(names)))
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    keys: dict[str, list[bytes]] = {name: [] for name in names}
    arrays: dict[str, np.ndarray] = {}
    for one in images:
        found: Any = session.run(names, {image: one})
        for name, array in zip(names, found, strict=True):
            kind = f"{array.dtype} {array.shape} "
            keys[name].append(hashlib.sha256(kind.encode() + array.tobytes()).digest())
            arrays[name] = array
    fixed = {name: arrays[name] for name, key in keys.items() if len(set(key)) == 1}
    first: dict[tuple[bytes, ...], str] = {}
    equal = {name: first.setdefault(tuple(key), name) for name, key in keys.items() if name not in fixed}
    return {name: other for name, other in equal.items() if name != other}, fixed


def _size_values(model: onnx.ModelProto, image: str) -> list[str]:
    """Return the values that depend on the size of the image, but not on its pixels, in order."""
    pixels, sizes, found = {image}, set[str](), []
    for node in model.graph.node:
        if node.op_type in SIZE_OF and node.input[0] in pixels | sizes:
            sizes.update(node.output)
        elif pixels.intersection(node.input):
            pixels.update(node.output)
            continue
        elif sizes.intersection(node.input):
            sizes.update(node.output)
        else:
            continue
        found.extend(node.output)
    return found


def _needed(model: onnx.ModelProto, values: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes that compute these values, in order."""
    found = []
    for node in reversed(model.graph.node):
        if values.intersection(node.output):
            values.update(node.input)
            found.append(node)
    return found[::-1]
