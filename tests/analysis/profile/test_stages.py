"""The stages of a PyTorch network: what belongs where, and that nothing is lost."""

from __future__ import annotations

import pytest
import torch
from small_networks import small_network
from torch import nn

from compsrt_plugin import native
from compsrt_plugin.analysis.profile.runtimes import runtime_stage
from compsrt_plugin.analysis.profile.stages import PROFILE_STAGES, shared_out, stage_times, torch_stage
from compsrt_plugin.quant import Quantizer, Transform, freeze

X = torch.rand(1, 3, 16, 16)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_quantized_network_has_every_stage(monkeypatch: pytest.MonkeyPatch, compiled: bool):
    if not compiled:
        monkeypatch.setattr(native, "usable", lambda *_: False)
    network = small_network()
    freeze(network)
    methods = (Transform.forward, Quantizer.quantize, native.fake_quantize)
    times = stage_times(network, X)
    assert tuple(times) == PROFILE_STAGES
    assert all(times[stage] > 0 for stage in PROFILE_STAGES[:-1]), times
    assert methods == (Transform.forward, Quantizer.quantize, native.fake_quantize)  # as they were


def test_a_network_without_quantizers_has_no_transform():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU()).eval()
    times = stage_times(network, X)
    assert times["transform"] == times["quantize"] == times["softmax"] == 0
    assert times["conv"] > 0 and times["gelu"] > 0


@pytest.mark.parametrize(
    ("operator", "stage"),
    [
        ("aten::addmm", "products"),
        ("aten::linear", "products"),
        ("aten::_softmax", "softmax"),
        ("aten::native_layer_norm", "norm"),
        ("aten::mkldnn_convolution", "conv"),
        ("aten::copy_", "copies"),
        ("aten::roll", "copies"),
        ("aten::add_", "elementwise"),
        ("somebody's mark", "other"),
    ],
)
def test_operators_of_torch(operator: str, stage: str):
    assert torch_stage(operator) == stage


@pytest.mark.parametrize(
    ("operator", "stage"),
    [
        ("FusedMatMul", "products"),
        ("FullyConnected", "products"),
        ("SkipLayerNormalization", "norm"),
        ("MVN", "norm"),
        ("BiasGelu", "gelu"),
        ("FusedConv", "conv"),
        ("ReorderInput", "copies"),
        ("DepthToSpace", "copies"),
        ("BiasAdd", "elementwise"),
        ("Loop", "other"),
    ],
)
def test_operators_of_onnx_runtime_and_openvino(operator: str, stage: str):
    assert runtime_stage(operator) == stage


def test_shares_of_an_instrumented_call_add_up_to_the_plain_one():
    parts = shared_out({"products": 3.0, "other": 1.0}, 100.0)
    assert parts["products"] == 75 and sum(parts.values()) == 100 and tuple(parts) == PROFILE_STAGES
    assert sum(shared_out({}, 100.0).values()) == 0
