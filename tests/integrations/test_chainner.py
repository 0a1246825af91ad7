"""ONNX files keep to what chaiNNer's ONNX nodes take, as its code says it, without chaiNNer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_networks import save, small_network

from compsrt_plugin.onnx import export_onnx
from compsrt_plugin.packed.open import open_packed

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
SIZES = (16, 64, 256, 512)  # at which it asks ONNX's shape inference for the scale
LARGEST_CHANNELS = 4  # a second dimension up to this means BCHW
KINDS = ("weights", "float", "int8")


@pytest.fixture(scope="module", params=KINDS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chainner")
    source = open_packed(save(folder / "net.safetensors", small_network()))
    export_onnx(folder / "net.onnx", source, request.param)
    return folder / "net.onnx"


def dimensions(value: onnx.ValueInfoProto) -> list[int | str]:
    found = value.type.tensor_type.shape.dim
    return [one.dim_param if one.HasField("dim_param") else one.dim_value for one in found]


def test_one_image_goes_in_and_one_comes_out(exported: Path) -> None:
    graph = onnx.load(exported).graph
    (given,), (made,) = graph.input, graph.output
    for value in (given, made):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        batch, channels, height, width = dimensions(value)
        assert channels == 3 <= LARGEST_CHANNELS and all(isinstance(name, str) for name in (batch, height, width))


def test_its_shape_inference_finds_no_fault(exported: Path) -> None:
    for size in SIZES:
        model = onnx.load(exported)
        for dimension, length in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, size, size)):
            dimension.dim_value = length
        (made,) = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output
        _, channels, *sides = dimensions(made)
        assert channels == 3 and all(side == 4 * size for side in sides if isinstance(side, int))


def test_an_image_of_any_size_becomes_larger_in_its_layout(exported: Path) -> None:
    session = runtime.InferenceSession(exported.read_bytes(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((19, 30, 3), np.float32)
    batch = np.flip(image, 2).transpose(2, 0, 1)[np.newaxis]
    (made,) = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: batch})
    assert made.shape == (1, 3, 76, 120) and made.dtype == np.float32
