"""Networks that torch traces: files for any image size, or one line that says why not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from foreign_networks import BASICSR, block_for
from onnx_files import exported, images, packed_foreign, run
from torch import Tensor, nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference.padding import mirrored_indices
from compsrt_plugin.onnx import export_onnx
from compsrt_plugin.quant.modes import switched_off

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZES = ((40, 72), (13, 21), (1, 1))


@ARCH_REGISTRY.register()
class FixesItsSize(nn.Module):
    """A network with code that reads the image's width as a Python number."""

    def __init__(self, upscale: int) -> None:
        super().__init__()
        self.first, self.mix = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 16)
        self.last = nn.Conv2d(16, 3 * upscale**2, 3, padding=1)
        self.upscale = upscale

    def forward(self, x: Tensor) -> Tensor:
        ramp = torch.arange(int(x.shape[3])) / 100
        y = self.mix((self.first(x) + ramp).movedim(1, -1)).movedim(-1, 1)
        return nn.functional.pixel_shuffle(self.last(y), self.upscale)


@pytest.fixture(scope="module", params=["DAT", "CRAFT", "ReadsWeights"])
def source(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return packed_foreign(block_for(request.param, folder)["base"], folder)


def expected(source, lq: Tensor) -> np.ndarray:
    """Return what PyTorch makes of an image that is padded by reflection, weights decoded."""
    network, scale = source.network, source.header.scale
    padded = lq
    for axis, target in zip((2, 3), network.size_rule.fit(*lq.shape[2:]), strict=True):
        padded = padded.index_select(axis, mirrored_indices(lq.shape[axis], target, repeat_edge=False))
    with torch.no_grad(), switched_off(network):
        return network(padded)[..., : scale * lq.shape[2], : scale * lq.shape[3]].numpy()


def test_weights_as_codes_give_the_decoded_network_at_any_size(source, tmp_path):
    session = exported(source, tmp_path, "weights")
    for height, width in SIZES:
        lq = images(1, height, width)
        assert np.abs(run(session, lq) - expected(source, lq)).max() < 1e-4


def test_linear_layers_on_integers_stay_within_a_grey_level(source, tmp_path):
    lq = images(1, 40, 72)
    found = run(exported(source, tmp_path, "int8"), lq)
    assert 0 < np.abs(found - expected(source, lq)).mean() < 1 / 255
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert any(node.op_type == "QuantizeLinear" for node in graph.node)


def test_every_quantized_weight_is_stored_as_codes(source, tmp_path):
    from compsrt_plugin.quant import quantized_layers

    export_onnx(tmp_path / "net.onnx", source)
    stored = [t for t in onnx.load(tmp_path / "net.onnx").graph.initializer if ".codes" in t.name]
    codes = [layer.weight_codes.numel() for _, layer in quantized_layers(source.network)]
    assert sum(int(np.prod(t.dims)) for t in stored) == sum(codes)
    layers = [layer for _, layer in quantized_layers(source.network)]
    kinds = {(layer.weight_shape[1:].numel(), layer.weight_quantizer.spec) for layer in layers}
    assert len(stored) == len(kinds), "layers of one width are one matrix"


def test_code_that_fixes_the_size_is_refused_in_one_line(tmp_path):
    source = packed_foreign({"type": "FixesItsSize", "upscale": 2}, tmp_path)
    with pytest.raises(CompSRTError, match="of FixesItsSize would be right at 48 x 80 pixels only: its code fixes"):
        export_onnx(tmp_path / "net.onnx", source)


def test_a_network_of_convolutions_has_no_integer_kind(tmp_path):
    source = packed_foreign({"type": "EDSR", **BASICSR["EDSR"]}, tmp_path)
    with pytest.raises(CompSRTError, match="no linear layer to put on integers; --onnx-kind weights"):
        export_onnx(tmp_path / "net.onnx", source, "int8")


def test_the_simulated_network_is_refused(tmp_path):
    source = packed_foreign({"type": "ReadsWeights", **BASICSR["ReadsWeights"]}, tmp_path)
    with pytest.raises(CompSRTError, match="CompSRTNet has no ONNX file of the kind exact; allowed: weights, int8"):
        export_onnx(tmp_path / "net.onnx", source, "exact")
