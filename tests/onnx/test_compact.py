"""Graphs in fewer bytes: the same nodes under short names, without attributes that say nothing."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from compsrt_plugin.onnx.compact import compact  # noqa: E402

WEIGHT = np.random.default_rng(0).random((16, 3, 3, 3), dtype=np.float32)


def model(**attributes):
    node = helper.make_node("Conv", ["a", "layer.weight", "layer.bias"], ["a_very_long_name"], **attributes)
    last = helper.make_node("LeakyRelu", ["a_very_long_name"], ["b"], alpha=0.01)
    shapes = [[1, 3, "h", "w"], [1, 16, "x", "y"]]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip("ab", shapes)]
    arrays = {"layer.weight": WEIGHT, "layer.bias": WEIGHT[:, 0, 0, 0]}
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph([node, last], "net", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_names_and_attributes_go_and_the_result_stays():
    whole = model(strides=[1, 1], dilations=[1, 1], group=1, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = np.random.default_rng(1).random((1, 3, 5, 6), dtype=np.float32)
    (expected,), size = ReferenceEvaluator(whole).run(None, {"a": x}), whole.ByteSize()
    compact(whole)
    onnx.checker.check_model(whole, full_check=True)
    assert np.array_equal(ReferenceEvaluator(whole).run(None, {"a": x})[0], expected)
    assert [one.name for one in whole.graph.node[0].attribute] == ["pads"] and not whole.graph.node[1].attribute
    assert whole.ByteSize() < size - 100
    assert whole.graph.initializer[0].name == "layer.weight", "large constants keep their names"
    names = [*whole.graph.node[0].output, whole.graph.initializer[1].name]
    assert max(map(len, names)) == 1 and not {"a", "b"}.intersection(names)


def test_attributes_that_say_something_stay():
    whole = model(strides=[2, 1], dilations=[1, 2], kernel_shape=[3, 3], pads=[0, 0, 0, 0])
    compact(whole)
    kept = {one.name: list(one.ints) for one in whole.graph.node[0].attribute}
    assert kept == {"strides": [2, 1], "dilations": [1, 2]}


@pytest.mark.parametrize("opset", [20, 21])
def test_nodes_that_older_runtimes_fuse_have_names_of_their_own(opset):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "abc"]
    index = numpy_helper.from_array(np.array([0, 0]), "index")
    nodes = [helper.make_node("Gather", ["a", "index"], [name]) for name in "bc"]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], [index])
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    compact(whole)
    assert [node.name for node in whole.graph.node] == (["b", "c"] if opset == 20 else ["", ""])
    assert not any(node.HasField("name") for node in whole.graph.node if opset > 20), "an empty name takes bytes"
