"""A walk tells a block's own damage from what came before it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin.analysis.tensors.walk import block_names, signal_to_noise, walk
from compsrt_plugin.errors import CompSRTError


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.shift = nn.Linear(4, 4), 0.0

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return x + self.layer(x) + self.shift


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Block() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, (1, 1))
        return x


def damaged(*numbers: int) -> Network:
    network = Network()
    for number in numbers:
        network.blocks[number].shift = 0.01
    return network


X = torch.randn(1, 7, 4, generator=torch.Generator().manual_seed(1))


def test_own_damage_is_where_it_is_made_and_total_damage_stays():
    found = walk(Network(), damaged(1), X, "numbers", "shifted")
    assert [step.name for step in found.steps] == [f"blocks.{n}" for n in range(4)]
    assert [step.own for step in found.steps] == [200.0, found.steps[1].total, 200.0, 200.0]
    assert [step.total < 100 for step in found.steps] == [False, True, True, True]
    assert found.output == found.steps[-1].total


def test_the_figures_are_signal_to_noise():
    exact = Network()
    found = walk(exact, damaged(0), X, "numbers", "shifted")
    with torch.no_grad():
        y = exact.blocks[0](X, (1, 1)).double()
    expected = 10 * torch.log10(y.square().sum() / (0.01**2 * y.numel()))
    assert found.steps[0].own == pytest.approx(float(expected), abs=1e-3)


def test_the_sentences_name_the_block_that_does_most():
    network = damaged(0)
    network.blocks[2].shift = 0.5
    text = " ".join(walk(Network(), network, X, "numbers", "shifted").sentences())
    assert text.startswith("numbers; shifted.") and "By itself, blocks.2 does most" in text


def test_hooks_are_gone_and_modes_are_as_before():
    exact, network = Network(), damaged(1)
    network.train()
    walk(exact, network, X, "numbers", "shifted")
    assert network.training
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in [*exact.modules(), *network.modules()]
    )


def test_blocks_within_groups_are_walked_through():
    groups = nn.ModuleDict({"layers": nn.ModuleList(Network() for _ in range(2))})
    assert block_names(groups) == [f"layers.{g}.blocks.{n}" for g in range(2) for n in range(4)]


def test_equal_signals_have_a_finite_figure():
    assert signal_to_noise(torch.ones(3), torch.ones(3)) == 200.0
    assert signal_to_noise(torch.full((4,), 10.0), torch.full((4,), 9.0)) == pytest.approx(20.0)


def test_networks_that_differ_are_refused():
    other = copy.deepcopy(Network())
    other.blocks = other.blocks[:3]
    with pytest.raises(CompSRTError, match="4 blocks in full precision and 3 quantized"):
        walk(Network(), other, X, "numbers", "cut")
