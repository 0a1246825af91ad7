"""Half precision in a finished graph: floats are computed in 16 bits; input and output stay in 32 bits.

The decoding of codes stays in 32 bits. Runtimes compute it when they load the file, and its error would be that of the
weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SINGLE, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
SINGLE_ONLY = ("Range",)  # has no form in 16 bits
SCALES = {"Resize": 2}  # operator -> input that is always in 32 bits
LARGEST = np.finfo(np.float16).max


def in_half(model: Any) -> Any:
    """Return the model with activations and constants in float16.

    Args:
        model: `onnx.ModelProto` of the kind `weights` or `float`, its nodes in order.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    _Halving(halved.graph, _types(model)).run()
    return halved


def _types(model: Any) -> dict[str, int]:
    """Return the element type of every value."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {stored.name: stored.data_type for stored in graph.initializer}
    return found | {v.name: v.type.tensor_type.elem_type for v in [*graph.input, *graph.value_info, *graph.output]}


class _Halving:
    """Rewrite a graph in place.

    Attributes:
        types: element type of every value, as it was.
        stored: initializers by name.
        single: values that stay in 32 bits.
        halves: value in 32 bits -> the same in 16.
    """

    def __init__(self, graph: Any, types: dict[str, int]) -> None:
        self.graph, self.types = graph, types
        self.stored = {one.name: one for one in graph.initializer}
        self.single = {value.name for value in graph.input}
        self.halves: dict[str, str] = {}
        self.nodes: list[Any] = []

    def run(self) -> None:
        """Rewrite the nodes, drop what is not read any more, and correct the declared types."""
        outputs = {value.name for value in self.graph.output}
        decoding = self.decoding()
        for node in self.graph.node:
            if node.op_type in SINGLE_ONLY or decoding.intersection(node.output):
                self.single.update(node.output)
                self.nodes.append(node)
            elif outputs.intersection(node.output):
                self.nodes.append(helper.make_node("Cast", [self.half(node.input[0])], node.output, to=SINGLE))
            else:
                self.rewrite(node)
        self.keep_what_is_read(outputs)
        for value in self.graph.value_info:
            if self.types[value.name] == SINGLE and value.name not in self.single:
                value.type.tensor_type.elem_type = HALF

    def decoding(self) -> set[str]:
        """Return the values from which, and to which, codes are decoded."""
        constant, decoded = set(self.stored), set[str]()
        for node in self.graph.node:
            if all(name in constant for name in node.input if name):
                constant.update(node.output)
                if self.reads_codes(node) or decoded.intersection(node.input):
                    decoded.update(node.output)
        for node in reversed(self.graph.node):
            if decoded.intersection(node.output):
                decoded.update(node.input)
        return decoded

    def reads_codes(self, node: Any) -> bool:
        """Return whether a node makes floats of whole numbers."""
        if node.op_type != "Cast" or helper.get_node_attr_value(node, "to") != SINGLE:
            return False
        return self.types[node.input[0]] not in (SINGLE, HALF)

    def rewrite(self, node: Any) -> None:
        """Let a node read and make 16 bits."""
        if node.op_type == "Cast" and helper.get_node_attr_value(node, "to") == SINGLE:
            if self.types[node.input[0]] == HALF and node.input[0] in self.stored:
                self.halves[node.output[0]] = node.input[0]  # stored in float16 as it is
                self.single.add(node.output[0])
                self.nodes.append(node)
                return
            node.attribute[0].i = HALF
        else:
            for place, name in enumerate(node.input):
                if place != SCALES.get(node.op_type):
                    node.input[place] = self.half(name)
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == SINGLE:
                    attribute.t.CopyFrom(_narrow(attribute.t, attribute.t.name))
        self.nodes.append(node)

    def half(self, name: str) -> str:
        """Return a value in 16 bits; the value itself if it is not a float or has 16 bits."""
        if not name or self.types[name] != SINGLE or (name not in self.single and name not in self.stored):
            return name
        if name not in self.halves:
            self.halves[name] = f"{name}_half"
            if name in self.stored:
                self.graph.initializer.append(_narrow(self.stored[name], self.halves[name]))
            else:
                self.nodes.append(helper.make_node("Cast", [name], [self.halves[name]], to=HALF))
        return self.halves[name]

    def keep_what_is_read(self, outputs: set[str]) -> None:
        """Leave only the nodes and constants that the outputs need."""
        needed, kept = set(outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        del self.graph.node[:]
        self.graph.node.extend(reversed(kept))
        stored = [one for one in self.graph.initializer if one.name in needed]
        del self.graph.initializer[:]
        self.graph.initializer.extend(stored)


def _narrow(stored: Any, name: str) -> Any:
    values = np.clip(numpy_helper.to_array(stored), -LARGEST, LARGEST)
    return numpy_helper.from_array(values.astype(np.float16), name)
