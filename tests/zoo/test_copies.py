"""A wrapped network is saved, copied and converted whole."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import torch
from foreign_networks import block_for

import compsrt_plugin  # noqa: F401  (repairs what BasicSR's import needs)
from compsrt_plugin.archs.compsrt_net_arch import CompSRTNet
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, freeze

NAMES = ["SwinIR", "ReadsWeights", "DAT"]
PICTURE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SPEC = NetworkSpec(QuantSpec(4), QuantSpec(4))


def quantized(name: str, folder: Path) -> CompSRTNet:
    torch.manual_seed(0)
    network = CompSRTNet(base=block_for(name, folder)["base"], quant=SPEC)
    calibrate(network, [PICTURE])
    return network.eval()


def through_a_file(network: CompSRTNet) -> CompSRTNet:
    stream = io.BytesIO()
    torch.save(network, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_saved_and_copied_with_the_network_it_wraps(name: str, frozen: bool, tmp_path: Path):
    network = quantized(name, tmp_path)
    if frozen:
        freeze(network)
    with torch.no_grad():
        expected = network(PICTURE)
        for again in (through_a_file(network), copy.deepcopy(network)):
            assert type(again) is type(network) and type(again.base[0]) is type(network.base[0])
            assert again._modules is again.base[0]._modules and again.base[0] is not network.base[0]
            assert torch.equal(again(PICTURE), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_that_is_refused_leaves_it_to_be_quantized_by_another(name: str, tmp_path: Path):
    torch.manual_seed(0)
    network = CompSRTNet(base=block_for(name, tmp_path)["base"])
    keys = list(network.state_dict())
    with pytest.raises(CompSRTError, match="matches no layer"):
        network.quantize(NetworkSpec(overrides={"nothing": {"bits": 4}}))
    assert list(network.state_dict()) == keys and network.quant is None
    network.quantize(SPEC)
    with pytest.raises(CompSRTError, match="is converted already"):
        network.quantize(SPEC)
    calibrate(network, [PICTURE])
