"""Files whose floats have 16 bits: the same images to a grey level, in about half the bytes of floats."""

from __future__ import annotations

import numpy as np
import pytest
from foreign_networks import block_for
from onnx_files import exported, images, network, packed, packed_foreign, run, session

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.onnx import HALF_KINDS, export_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FLOAT = 1  # onnx.TensorProto


@pytest.fixture(scope="module", params=["SwinIR", "DAT", "CRAFT"])
def source(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "SwinIR":
        return packed(network("plus", bits=4), folder)
    return packed_foreign(block_for(request.param, folder)["base"], folder)


def halved(source, folder, kind):
    export_onnx(folder / "half.onnx", source, kind, half=True)
    return folder / "half.onnx"


@pytest.mark.parametrize("kind", HALF_KINDS)
def test_images_stay_within_a_grey_level_and_input_and_output_have_32_bits(source, tmp_path, kind):
    half, full = session(halved(source, tmp_path, kind)), exported(source, tmp_path, kind)
    for height, width in ((24, 40), (13, 21)):
        lq = images(1, height, width)
        found, expected = run(half, lq), run(full, lq)
        assert found.dtype == np.float32
        assert 0 < np.abs(found - expected).max() < 1 / 255
    assert half.get_inputs()[0].type == "tensor(float)"


@pytest.mark.parametrize("kind", HALF_KINDS)
def test_no_activation_has_32_bits(source, tmp_path, kind):
    graph = onnx.shape_inference.infer_shapes(onnx.load(halved(source, tmp_path, kind))).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    constant = {stored.name for stored in graph.initializer}
    for node in graph.node:
        if all(name in constant for name in node.input if name):
            constant.update(node.output)
        elif node.op_type != "Range":
            assert FLOAT not in [types.get(name) for name in node.output], node.name


def test_constants_are_stored_in_16_bits_unless_codes_are_decoded_with_them(source, tmp_path):
    graph = onnx.load(halved(source, tmp_path, "float")).graph
    assert not [stored.name for stored in graph.initializer if stored.data_type == FLOAT and stored.dims]
    full = tmp_path / "full.onnx"
    export_onnx(full, source, "float")
    assert halved(source, tmp_path, "float").stat().st_size < full.stat().st_size
    graph = onnx.shape_inference.infer_shapes(onnx.load(halved(source, tmp_path, "weights"))).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    codes = {stored.name for stored in graph.initializer if ".codes" in stored.name}
    decoded = {node.output[0] for node in graph.node if node.input[0] in codes}
    decoded |= {node.output[0] for node in graph.node if decoded.intersection(node.input)}
    assert len(decoded) >= 2 * len(codes) and {types[name] for name in decoded} == {FLOAT}


@pytest.mark.parametrize("kind", ["int8", "exact"])
def test_kinds_that_compute_with_codes_have_no_16_bits(tmp_path, kind):
    source = packed(network(), tmp_path)
    with pytest.raises(CompSRTError, match=f"the kind {kind} has no form in 16-bit floats; allowed: weights, float"):
        export_onnx(tmp_path / "half.onnx", source, kind, half=True)
    assert not (tmp_path / "half.onnx").exists()
