"""A converted network inside the wrappers of PyTorch."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import compsrt_plugin  # noqa: F401  (repairs BasicSR)
from compsrt_plugin.archs.compsrt_net_arch import CompSRTNet
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, discover, freeze, quantized_layers

X = torch.randn(4, 9, 8, generator=torch.Generator().manual_seed(0))
SPEC = NetworkSpec(QuantSpec(4), QuantSpec(4))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out((q @ k.mT).softmax(-1) @ v)


class Reading(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.layer.weight)


def student(*parts: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(*(parts or (Attention(), nn.Linear(8, 8))))
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    convert(network, SPEC, discover(network, [X, X[:, :4]]))
    calibrate(network, [X])
    return network


def on_the_cpu(tensors: list[Tensor], devices: list[Any], detach: bool = False) -> list[list[Tensor]]:
    return [[tensor.clone() for tensor in tensors] for _ in devices]


@pytest.fixture
def replicas(monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module], list[nn.Module]]:
    """What `DataParallel` makes of a network on two GPUs, here on the CPU."""
    parallel = importlib.import_module("torch.nn.parallel.replicate")  # the package has a function of that name
    monkeypatch.setattr(parallel, "_broadcast_coalesced_reshape", on_the_cpu)
    monkeypatch.setattr(parallel, "_get_device_index", lambda device, *_: device)
    return lambda network: parallel.replicate(network, [0, 1])


@pytest.mark.parametrize("frozen", [False, True])
def test_copies_of_data_parallel_compute_by_their_own_tensors(frozen: bool, replicas):
    network = student()
    expected = network(X).detach()
    if frozen:
        freeze(network)
    copies = replicas(network)
    for _, layer in quantized_layers(network):
        layer.bias.data.zero_()
        for bound in layer.input_quantizer.parameters():
            bound.data.zero_()
    assert not torch.equal(network(X), expected)
    for one in copies:
        assert torch.equal(one(X), expected)


def test_gradients_reach_the_network_through_copies(replicas):
    network, alone = student(), student()
    alone(X).square().sum().backward()
    copies = replicas(network)
    sum(one(part).square().sum() for one, part in zip(copies, X.chunk(2))).backward()
    for (name, parameter), other in zip(network.named_parameters(), alone.parameters()):
        assert float((parameter.grad - other.grad).norm()) <= 1e-4 * float(other.grad.norm()), name


def test_data_parallel_is_refused_where_copies_would_read_the_original(replicas):
    with pytest.raises(CompSRTError, match="DataParallel cannot copy Reading, whose code reads weights of other"):
        replicas(student(Reading()))
    base = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "upscale": 2}
    with pytest.raises(CompSRTError, match=r"DataParallel cannot copy CompSRTNet, .* --launcher pytorch"):
        replicas(CompSRTNet(base=base))


def parts() -> list[nn.Module]:
    return [Attention(), Reading(), nn.Linear(8, 8)]


def test_functional_call_computes_by_the_tensors_it_is_given():
    network, other = student(*parts()), student(*parts())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    expected = network(X).detach()
    assert torch.equal(functional_call(network, dict(other.named_parameters()), X), other(X))
    assert torch.equal(network(X), expected)


def test_moving_averages_are_networks_like_the_one_they_follow():
    network = student(*parts())
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    moved = copy.deepcopy(network)
    averaged.update_parameters(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.2)
        for parameter in moved.parameters():
            parameter.mul_(1.1)
    averaged.update_parameters(network)
    assert torch.allclose(averaged(X), moved(X), atol=1e-4)
    assert not torch.allclose(averaged(X), network(X), atol=1e-2)


def test_functional_call_of_a_frozen_network_decodes_the_codes_it_is_given():
    network, other = freeze(student(*parts())), student(*parts())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(-0.9)
    calibrate(other, [X])
    freeze(other)
    expected = network(X).detach()
    assert torch.equal(functional_call(network, other.state_dict(), X), other(X))
    assert torch.equal(network(X), expected)


def test_bounds_of_a_frozen_layer_may_change_after_it_was_used():
    network = freeze(student(nn.Linear(8, 8)))
    before = network(X)
    with torch.no_grad():
        for bound in network[0].weight_quantizer.parameters():
            bound.mul_(2)
    assert not torch.equal(network(X), before)
