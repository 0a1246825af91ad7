"""The kind int8: linear layers on integers, with bounds that hold on other images."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_files import exported, images, network, packed, run
from small_networks import save, small_network

from compsrt_plugin.data.images import write_image
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.onnx import export_onnx
from compsrt_plugin.packed.open import open_packed

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

LINEAR_LAYERS = 12  # of two Swin blocks: q, k, v, proj, fc1, fc2
INPUTS = 8  # of these; q, k and v have one


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return packed(network(bits=4), tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="module")
def graph(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "net.onnx"
    export_onnx(path, source, "int8")
    return onnx.load(path).graph


def producers(graph):
    return {name: node for node in graph.node for name in node.output}


def test_its_images_are_those_of_the_float_graph_to_a_grey_level(source, tmp_path):
    for count, height, width in ((1, 24, 40), (2, 13, 21)):
        lq = images(count, height, width)
        expected = run(exported(source, tmp_path, "float"), lq)
        found = run(exported(source, tmp_path, "int8"), lq)
        assert 0 < np.abs(found - expected).max() < 1 / 255


def test_every_linear_layer_has_integer_operands_and_nothing_else_has(graph):
    made_by = producers(graph)
    products = [node for node in graph.node if node.op_type in ("Gemm", "MatMul", "Conv")]
    quantized = [n for n in products if all(i in made_by and made_by[i].op_type == "DequantizeLinear" for i in n.input)]
    assert [node.op_type for node in quantized] == ["Gemm"] * LINEAR_LAYERS
    assert sum(node.op_type == "DequantizeLinear" for node in graph.node) == 2 * LINEAR_LAYERS + INPUTS


def test_codes_fit_sums_of_sixteen_bits_and_biases_are_in_steps_of_the_sum(graph):
    made_by = producers(graph)
    stored = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    for product in (node for node in graph.node if node.op_type == "Gemm"):
        x, weight, bias = ([stored.get(name) for name in made_by[name].input] for name in product.input)
        assert weight[0].dtype == np.int8 and np.abs(weight[0]).max() == 63
        assert x[2].dtype == np.uint8 and bias[0].dtype == np.int32
        assert np.array_equal(bias[1], weight[1] * x[1])


def test_values_are_rounded_before_they_are_moved_about(graph):
    made_by = producers(graph)
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            assert made_by[node.input[0]].op_type in ("LayerNormalization", "Gelu", "MatMul")


def test_bounds_come_from_the_given_images(source, graph, tmp_path):
    (tmp_path / "black").mkdir()
    write_image(tmp_path / "black" / "black.png", np.zeros((16, 16, 3), np.uint8))
    export_onnx(tmp_path / "net.onnx", source, "int8", images=tmp_path / "black")
    assert not np.allclose(scales(onnx.load(tmp_path / "net.onnx").graph), scales(graph), rtol=0.01)


def scales(graph):
    stored = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    return [float(stored[node.input[1]]) for node in graph.node if node.op_type == "QuantizeLinear"]


def test_a_folder_without_images_is_refused(tmp_path):
    source = open_packed(save(tmp_path / "net.safetensors", small_network()))
    (tmp_path / "none").mkdir()
    with pytest.raises(CompSRTError, match="no images in"):
        export_onnx(tmp_path / "net.onnx", source, "int8", images=tmp_path / "none")


def test_openvino_runs_it(source, tmp_path):
    openvino = pytest.importorskip("openvino")
    lq = images(1, 13, 21)
    expected = run(exported(source, tmp_path, "int8"), lq)
    run_it = openvino.Core().compile_model(str(tmp_path / "net.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert np.abs(run_it(lq.numpy())[0] - expected).max() < 1 / 255
