"""Values that follow from an image's size: equal ones are found, different ones are not taken for equal."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from compsrt_plugin.onnx.size_values import equal_values  # noqa: E402

SIZES = ((8, 16), (4, 12), (24, 8))


def model(*nodes):
    constants = [helper.make_tensor("two", TensorProto.INT64, [], [2]), helper.make_tensor("half", 1, [], [0.5])]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])
    graph = helper.make_graph(nodes, "sizes", [image], [onnx.ValueInfoProto(name="y")], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def found(*nodes):
    images = [np.random.default_rng(0).random((1, 3, *size), dtype=np.float32) for size in SIZES]
    return equal_values(model(*nodes), "image", images)


def test_the_same_shape_of_two_values_is_one_and_what_never_changes_is_a_constant():
    equal, fixed = found(
        helper.make_node("Add", ["image", "half"], ["y"]),
        helper.make_node("Shape", ["image"], ["height"], start=2, end=3),
        helper.make_node("Shape", ["y"], ["same"], start=2, end=3),
        helper.make_node("Shape", ["y"], ["width"], start=3, end=4),
        helper.make_node("Shape", ["y"], ["channels"], start=1, end=2),
        helper.make_node("Div", ["height", "two"], ["rows"]),
        helper.make_node("Div", ["same", "two"], ["same_rows"]),
    )
    assert equal == {"same": "height", "same_rows": "rows"}
    assert list(fixed) == ["channels"] and fixed["channels"].tolist() == [3]


def test_values_of_pixels_are_left_alone_though_they_be_equal():
    equal, fixed = found(
        helper.make_node("Add", ["image", "half"], ["y"]),
        helper.make_node("Sub", ["image", "image"], ["zero"]),
        helper.make_node("Sub", ["y", "y"], ["zero_too"]),
    )
    assert not equal and not fixed


def test_equal_numbers_of_another_shape_are_different():
    equal, _ = found(
        helper.make_node("Shape", ["image"], ["height"], start=2, end=3),
        helper.make_node("Squeeze", ["height"], ["number"]),
        helper.make_node("Identity", ["image"], ["y"]),
    )
    assert not equal
