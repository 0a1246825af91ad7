"""A state dict restores values, frozen layouts, and whether quantizers are on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import (
    Mode,
    NetworkSpec,
    QuantSpec,
    calibrate,
    convert,
    discover,
    distinct_codes,
    freeze,
    named_quantizers,
    quantized_layers,
    set_mode,
)

X = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))


class Body(nn.Module):
    """A convolution, linear layers, a weight that code reads, and products in its own code."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.mlp = nn.Conv2d(1, 4, 3, padding=1), nn.Sequential(nn.Linear(64, 16), nn.GELU())
        self.qkv, self.table = nn.Linear(16, 48), nn.Parameter(torch.rand(16, 16))

    def forward(self, x: Tensor) -> Tensor:
        x = self.mlp(self.first(x.unsqueeze(1)).movedim(1, -1).flatten(2))
        q, k, v = F.linear(x, self.qkv.weight).chunk(3, -1)
        return F.linear((q @ k.mT).softmax(-1) @ v, self.table)


def converted(codes: str = "strict", **overrides) -> nn.Module:
    plain = Body()
    spec = NetworkSpec(QuantSpec(3, codes=codes), QuantSpec(3, codes=codes), overrides=overrides)
    return convert(plain, spec, discover(plain, [X, X[:, :4]]))


def calibrated(**kwargs) -> nn.Module:
    network = converted(**kwargs)
    calibrate(network, [X])
    return network


def modes(network: nn.Module) -> set[Mode]:
    return {quantizer.mode for _, quantizer in named_quantizers(network)}


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("target", ["converted", "calibrated", "frozen"])
@pytest.mark.parametrize("source", ["calibrated", "frozen"])
@pytest.mark.parametrize("codes", ["strict", "paper"])
def test_a_state_makes_any_network_compute_as_the_one_it_was_taken_from(
    codes: str, source: str, target: str, assign: bool
):
    network = calibrated(codes=codes)
    with torch.no_grad():
        expected = network(X)
        if source == "frozen":
            freeze(network)
        other = freeze(converted(codes=codes)) if target == "frozen" else converted(codes=codes)
        if target == "calibrated":
            calibrate(other, [X * 3])
        other.load_state_dict(copy.deepcopy(network.state_dict()), assign=assign)
        assert torch.equal(other(X), expected)
    assert distinct_codes(other, [X]) == distinct_codes(network, [X])
    assert modes(other) == {Mode.ON}
    assert {layer.frozen for _, layer in quantized_layers(other)} == {source == "frozen"}
    assert other.state_dict().keys() == network.state_dict().keys()


def test_a_thawed_network_trains_on():
    other = freeze(calibrated())
    other.load_state_dict(calibrated().state_dict())
    other(X).square().mean().backward()
    for _, layer in quantized_layers(other):
        assert isinstance(layer.weight, nn.Parameter) and layer.weight.grad is not None


def test_a_state_without_bounds_that_were_searched_switches_quantizers_off():
    network = calibrated()
    network.load_state_dict(converted().state_dict())
    assert modes(network) == {Mode.OFF}
    with torch.no_grad():
        assert torch.equal(network(X), Body()(X))


def test_a_state_without_any_bounds_leaves_the_modes():
    network = calibrated()
    set_mode(network, Mode.OFF)
    network.load_state_dict({"qkv.bias": torch.zeros(48)}, strict=False)
    assert modes(network) == {Mode.OFF}


def test_a_state_of_no_values_leaves_the_modes():
    network = calibrated().to("meta")
    network.load_state_dict(converted().to("meta").state_dict(), assign=True)
    assert modes(network) == {Mode.ON}


def coded(bits: int, transform: str = "hadamard") -> nn.Module:
    torch.manual_seed(0)
    spec = QuantSpec(bits, transform)
    network = convert(nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)), NetworkSpec(spec, spec))
    calibrate(network, [X])
    return network


@pytest.mark.parametrize("thawed", [True, False])
@pytest.mark.parametrize(("other", "found"), [
    ({"bits": 3}, "bits 3, this network has bits 4"), ({"bits": 8}, "bits 8, this network has bits 4"),
    ({"bits": 4, "transform": "none"}, "transform none, this network has transform hadamard"),
])  # fmt: skip
def test_codes_of_another_spec_are_refused(tmp_path: Path, other: dict[str, Any], found: str, thawed: bool):
    target = coded(4) if thawed else freeze(coded(4))
    torch.save(freeze(coded(**other)).state_dict(), tmp_path / "state.pth")
    state = torch.load(tmp_path / "state.pth", weights_only=True)
    before = target(X)
    with pytest.raises(CompSRTError, match=rf"codes of 0\.weight in the state have {found}; convert") as error:
        target.load_state_dict(state)
    assert "\n" not in str(error.value)
    assert torch.equal(target(X), before)


def test_codes_that_do_not_fit_are_refused_where_the_state_says_nothing_of_bits():
    state = dict(freeze(coded(4)).state_dict())  # a plain dictionary, as out of a safetensors file
    with pytest.raises(CompSRTError, match=r"codes of 0\.weight in the state have bits 4, this network has bits 3"):
        coded(3).load_state_dict(state)
    coded(4).load_state_dict(state)
