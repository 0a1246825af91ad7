"""Every tensor that would be quantized is a place, seen as the quantizer would see it."""

from __future__ import annotations

import pytest
import torch
from small_networks import ARCH
from torch import nn

from compsrt_plugin.analysis.tensors.places import (
    analysis_spec,
    describe_places,
    gather_activations,
    gather_weights,
    transforms_of,
)
from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import Mode, NetworkSpec, QuantSpec, convert, named_quantizers

ALL = ("none", "hadamard", "hadamard_softmax", "hadamard_signed", "hadamard_exact", "hadamard_block")


def small_swinir(own: NetworkSpec | None = None) -> CompSRTSwinIR:
    torch.manual_seed(0)
    network = CompSRTSwinIR(**ARCH).eval()
    network.quantize(analysis_spec(own))
    return network


X = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_what_is_seen_is_what_the_layer_gets():
    network = convert(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), analysis_spec_without_maps())
    batches = [torch.randn(5, 8), torch.randn(7, 8)]
    first, second = gather_activations(network, batches)
    assert sorted(first.sample.flatten().tolist()) == sorted(torch.cat(batches).flatten().tolist())
    with torch.no_grad():
        hidden = torch.cat([network[1](network[0](batch)) for batch in batches])
    assert sorted(second.sample.flatten().tolist()) == pytest.approx(sorted(hidden.flatten().tolist()), abs=1e-6)
    weights = gather_weights(network)
    assert torch.equal(weights[0].sample, network[0].weight)
    assert [one.stream.name for one in weights] == ["0.weight", "2.weight"]


def analysis_spec_without_maps() -> NetworkSpec:
    spec = QuantSpec(granularity="per_channel", scalar_decomposition=False)
    return NetworkSpec(spec, QuantSpec(granularity="per_token"), conv_bits=None)


def test_roles_depths_and_domains_of_a_swin_network():
    network = small_swinir()
    gathered = gather_activations(network, [X, X])
    for role, count in (("input", 8), ("q", 2), ("k", 2), ("v", 2), ("map", 2)):
        assert [one.depth for one in gathered if one.role == role] == list(range(count))
    domains = {one.role: tuple(one.stream.moments) for one in gathered}
    assert domains["map"] == ALL
    assert domains["input"] == tuple(name for name in ALL if name != "hadamard_softmax")
    fine = {one.role: one.fine for one in gathered}
    assert fine == {"input": "per_token", "q": "per_token", "k": "per_token", "map": "per_token", "v": None}
    assert all(quantizer.mode is Mode.OFF for _, quantizer in named_quantizers(network))
    inputs = [one for one in gathered if one.role == "input"]
    assert inputs[0].stream.moments["none"].count == 2 * 256 * 60


def test_statistics_come_in_order_whatever_the_number_of_threads():
    gathered = gather_weights(small_swinir())[:3]
    threads = torch.get_num_threads()
    try:
        found = []
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(describe_places(gathered))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]
    assert [place.name for place in found[0]] == [one.stream.name for one in gathered]
    assert found[0][0].kind == "weights" and found[0][0].values == 3600


def test_layers_in_full_precision_stay_so_and_other_overrides_do_not_count():
    own = NetworkSpec(overrides={"*.fc1": {"keep": True}, "*.map": {"keep": True}, "*.fc2": {"bits": 8}})
    names = [name for name, _ in named_quantizers(small_swinir(own))]
    assert not any(".fc1" in name or name.endswith(".map") for name in names)
    assert any(".fc2" in name for name in names)


def test_an_axis_that_follows_the_picture_has_no_transform():
    network = small_swinir()
    quantizer = next(q for name, q in named_quantizers(network) if name.endswith("fc1.input"))
    quantizer.spec = QuantSpec(transform="none")
    assert transforms_of(quantizer) == ("none",)


def test_no_batch_and_spoilt_values_are_refused():
    network = convert(nn.Sequential(nn.Linear(8, 4)), analysis_spec_without_maps())
    with pytest.raises(CompSRTError, match=r"no value reached 0\.input"):
        gather_activations(network, [])
    with pytest.raises(CompSRTError, match=r"0\.input: the values hold NaN or infinity"):
        gather_activations(network, [torch.full((2, 8), torch.nan)])
    assert next(q for _, q in named_quantizers(network)).mode is Mode.OFF
