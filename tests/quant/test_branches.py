"""Branches that their own code merges at each call are merged once, so that the convolution can be quantized."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.quant.branches import MergedBranches, merge_branches

X = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Branches(nn.Module):
    """A 3x3 convolution and a shortcut, merged before each pass in eval mode, as SPAN's do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.eval_conv = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.slope = 0.1

    def update_params(self) -> None:
        weight = self.conv.weight.detach().clone()
        for channel in range(3):
            weight[channel, channel, 1, 1] += 1
        self.eval_conv.weight.data = weight
        self.eval_conv.bias.data = self.conv.bias.detach().clone()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return F.leaky_relu(self.conv(x) + x, self.slope)
        self.update_params()
        return F.leaky_relu(self.eval_conv(x), self.slope)


def test_the_merged_network_computes_the_same_in_both_modes() -> None:
    network = nn.Sequential(Branches(), nn.Sequential(Branches())).eval()
    wanted = network(X)
    merge_branches(network)
    assert torch.equal(network(X), wanted) and torch.equal(network.train()(X), wanted)
    assert set(network.state_dict()) == {f"{n}.eval_conv.{p}" for n in ("0", "1.0") for p in ("weight", "bias")}


def test_the_convolution_may_be_replaced_and_the_network_copied() -> None:
    network = nn.Sequential(Branches()).eval()
    merge_branches(network)
    network[0].eval_conv = nn.Identity()
    for other in (network, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(X), X)


def test_other_modules_stay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1))
    merge_branches(network)
    assert not any(isinstance(module, MergedBranches) for module in network.modules())
