"""A SwinIR as ONNX computes in ONNX Runtime what it computes in PyTorch, at any size, whatever the kind of file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from onnx_files import exported, grey_levels, images, network, packed, run, simulated
from small_networks import save, small_network

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.config.recipes import RECIPES
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.onnx import export_onnx
from compsrt_plugin.packed.bundled import checkpoint_path
from compsrt_plugin.packed.open import open_packed
from compsrt_plugin.quant import quantized_layers
from compsrt_plugin.quant.modes import switched_off
from compsrt_plugin.quant.transforms import TRANSFORMS

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZES = [(1, 1, 1), (1, 8, 8), (2, 13, 21), (1, 33, 9), (1, 24, 40)]


def assert_equal_to_one_grey_level(built: CompSRTSwinIR, folder: Path, sizes=SIZES, **arch):
    source = packed(built, folder, **arch)
    session = exported(source, folder, "exact")
    for count, height, width in sizes:
        lq = images(count, height, width)[:, : arch.get("in_chans", 3)]
        ours = grey_levels(simulated(source.network, lq, arch.get("upscale", 4) if built.upsampler else 1))
        theirs = grey_levels(run(session, lq))
        assert theirs.shape == ours.shape
        assert np.ptp(ours) > 5 or height == 1, "the image says something"
        assert np.abs(theirs - ours).max() <= 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_onnx_runtime_gives_our_pixels_to_one_grey_level_at_five_sizes(tmp_path, recipe):
    assert_equal_to_one_grey_level(network(recipe), tmp_path)


PRUNINGS = {
    "magnitude": {"hook": "magnitude", "ratio": 0.4},
    "rows": {"hook": "channel", "ratio": 0.4, "options": {"axis": "rows"}},
    "columns": {"hook": "channel", "ratio": 0.4},
}


@pytest.mark.parametrize("pruning", PRUNINGS)
def test_pruned_weights_are_zero_there_too(tmp_path, pruning):
    assert_equal_to_one_grey_level(network("plus", pruning=PRUNINGS[pruning]), tmp_path, SIZES[2:3])


QUANTS = {
    **{kind: {"activation": {"transform": kind}, "weight": {"transform": kind}} for kind in list(TRANSFORMS)[3:]},
    "2 bits": {"bits": 2},
    "5 bits": {"bits": 5},
    "full-precision attention": {"overrides": {"*.attn.q": {"keep": True}, "*.attn.map": {"keep": True}}},
    "full-precision layers": {"overrides": {"*.fc1": {"keep": True}, "conv_first": {"keep": True}}},
    "transforms that differ": {"overrides": {"*.fc2.weight": {"transform": "none"}}},
    "transformed convolutions": {"overrides": {"conv_first": {"transform": "hadamard", "bits": 4}}},
}


@pytest.mark.parametrize("quant", QUANTS)
def test_every_kind_of_quantizer_is_the_same(tmp_path, quant):
    assert_equal_to_one_grey_level(network(quant=QUANTS[quant]), tmp_path, SIZES[2:3])


def assert_weights_only(built: CompSRTSwinIR, folder: Path, **arch):
    """The files without activation quantizers are the network with its quantizers off, decoded weights in place."""
    source = packed(built, folder, **arch)
    lq = images(2, 13, 21)[:, : arch.get("in_chans", 3)]
    with switched_off(source.network):
        ours = simulated(source.network, lq, arch.get("upscale", 4) if built.upsampler else 1).numpy()
    found = {kind: run(exported(source, folder, kind), lq) for kind in ("weights", "float", "exact")}
    assert np.abs(found["weights"] - ours).max() < 1e-5
    assert np.abs(found["float"] - ours).max() < 1e-5
    assert arch or np.abs(found["exact"] - ours).max() > 1e-4, "the quantizers change something"


@pytest.mark.parametrize("quant", [quant for quant in QUANTS if "full-precision" not in quant])
def test_without_activation_quantizers_the_weights_are_the_decoded_ones(tmp_path, quant):
    assert_weights_only(network(quant=QUANTS[quant]), tmp_path)


@pytest.mark.parametrize("pruning", PRUNINGS)
def test_without_activation_quantizers_pruned_weights_are_zero(tmp_path, pruning):
    assert_weights_only(network("plus", pruning=PRUNINGS[pruning]), tmp_path)


def test_inputs_of_convolutions_are_quantized_there_too(tmp_path):
    """At 3 bits every pixel shows it."""
    lq = images(2, 24, 24)
    sources = [packed(network(quant={"conv_input_bits": bits}), tmp_path) for bits in (3, None)]
    ours, plain = (grey_levels(simulated(source.network, lq, 4)) for source in sources)
    theirs = grey_levels(run(exported(sources[0], tmp_path, "exact"), lq))
    assert np.abs(theirs - ours).max() <= 1
    assert (np.abs(plain - ours) <= 1).mean() < 0.5


ARCHS = {
    "pixelshuffle": {"upsampler": "pixelshuffle", "upscale": 2},
    "nearest+conv": {"upsampler": "nearest+conv"},
    "no upsampler": {"upsampler": "", "upscale": 1, "resi_connection": "3conv", "in_chans": 1},
    "img_range 255, no qkv bias, no patch norm": {"img_range": 255.0, "qkv_bias": False, "patch_norm": False},
}


@pytest.mark.parametrize("arch", ARCHS)
def test_every_form_of_swinir_is_the_same(tmp_path, arch):
    assert_equal_to_one_grey_level(network(bits=8, **ARCHS[arch]), tmp_path, SIZES[2:3], **ARCHS[arch])


@pytest.mark.parametrize("arch", ARCHS)
def test_every_form_of_swinir_has_files_without_activation_quantizers(tmp_path, arch):
    assert_weights_only(network(bits=2, **ARCHS[arch]), tmp_path, **ARCHS[arch])


def test_a_file_of_the_default_kind_is_a_quarter_of_the_floats(tmp_path):
    source = open_packed(checkpoint_path(4, 4))
    size, _ = export_onnx(tmp_path / "net.onnx", source)
    assert size * 4 < export_onnx(tmp_path / "float.onnx", source, "float")[0]


@pytest.mark.parametrize("kind, opset, version", [("float", 20, 9), ("int8", 20, 9), ("weights", 21, 10)])
def test_only_files_with_codes_of_4_bits_need_a_new_runtime(tmp_path, kind, opset, version):
    assert export_onnx(tmp_path / "net.onnx", open_packed(checkpoint_path(4, 4)), kind)[1] == opset
    model = onnx.load(tmp_path / "net.onnx")
    assert model.ir_version == version
    narrow = {onnx.TensorProto.UINT4, onnx.TensorProto.INT4}
    assert any(stored.data_type in narrow for stored in model.graph.initializer) == (kind == "weights")


def test_an_unknown_kind_is_refused(tmp_path):
    source = open_packed(save(tmp_path / "net.safetensors", small_network()))
    with pytest.raises(CompSRTError, match=r"unknown kind of ONNX file 'weight'.*did you mean 'weights'"):
        export_onnx(tmp_path / "net.onnx", source, "weight")


def test_weights_are_codes_in_the_narrowest_type_that_other_tools_read(tmp_path):
    kinds = onnx.TensorProto
    for bits, kind, stored in ((2, kinds.UINT4, 4), (3, kinds.UINT4, 4), (4, kinds.UINT4, 4), (5, kinds.UINT8, 8)):
        network = small_network(bits)
        source = open_packed(save(tmp_path / "net.safetensors", network, bits))
        assert export_onnx(tmp_path / "net.onnx", source)[1] == (21 if stored == 4 else 20)
        model = onnx.load(tmp_path / "net.onnx")
        codes = [t for t in model.graph.initializer if ".codes" in t.name]
        expected: dict[tuple[int, int], int] = {}
        for _, layer in quantized_layers(source.network):
            rows, columns = layer.weight_codes.shape
            width = (columns, kinds.UINT8 if layer.weight_quantizer.spec.bits == 8 else kind)
            expected[width] = expected.get(width, 0) + rows
        assert {(t.dims[1], t.data_type): t.dims[0] for t in codes} == expected
        for t in codes:
            assert len(t.raw_data) == t.dims[0] * t.dims[1] * (8 if t.data_type == kinds.UINT8 else stored) // 8


@pytest.mark.parametrize("quant", [*QUANTS, "2 bits, pruned"])
def test_openvino_reads_every_file_and_its_pixels_are_near(tmp_path, quant):
    """Not to one grey level: it computes in its own order, and roundings amplify that."""
    openvino = pytest.importorskip("openvino")
    built = network("plus", 2, PRUNINGS["magnitude"]) if quant not in QUANTS else network(quant=QUANTS[quant])
    source = packed(built, tmp_path)
    export_onnx(tmp_path / "net.onnx", source, "exact")
    lq = images(1, 13, 21)
    run = openvino.Core().compile_model(str(tmp_path / "net.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    error = grey_levels(simulated(source.network, lq, 4)) - grey_levels(run(lq.numpy())[0])
    assert np.sqrt((error**2).mean()) < 1


def test_the_bundled_network_differs_no_more_than_rounding_makes_it_differ(tmp_path):
    """Its roundings are many and amplify each other: an image beside another one in a batch differs as much."""
    source = open_packed(checkpoint_path(4, 3))
    lq = images(1, 16, 24)
    theirs = run(exported(source, tmp_path, "exact"), lq)
    error = grey_levels(simulated(source.network, lq, 4)) - grey_levels(theirs)
    assert np.sqrt((error**2).mean()) < 1


@pytest.mark.parametrize("arch", [{"ape": True}, {"img_size": 4}], ids=str)
def test_a_network_of_one_image_size_is_refused(tmp_path, arch):
    source = packed(network(**{"img_size": 16, **arch}), tmp_path, **arch)
    with pytest.raises(CompSRTError, match="one image size only"):
        export_onnx(tmp_path / "net.onnx", source, "exact")


def test_without_the_extra_one_line_says_how_to_install_it(tmp_path, monkeypatch):
    source = open_packed(save(tmp_path / "net.safetensors", small_network()))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(CompSRTError, match=r"pip install 'compsrt_plugin\[onnx\]'"):
        export_onnx(tmp_path / "net.onnx", source, "exact")
    assert not (tmp_path / "net.onnx").exists()
