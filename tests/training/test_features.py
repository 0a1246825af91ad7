from __future__ import annotations

import pytest
from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training.features import feature_modules, repeated_modules


class Group(nn.Module):
    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(blocks)])


class Network(nn.Module):
    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def series(count: int, blocks: int = 2) -> nn.ModuleList:
    return nn.ModuleList([Group(blocks) for _ in range(count)])


def test_groups_are_the_members_of_the_outermost_series_of_equal_modules():
    assert repeated_modules(Network(body=series(3), tail=nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)))) == [
        "body.0",
        "body.1",
        "body.2",
    ]


def test_of_two_series_the_larger_one_is_taken():
    assert repeated_modules(Network(small=series(2), large=series(2, blocks=5))) == ["large.0", "large.1"]


def test_one_group_alone_is_no_series_but_its_blocks_are():
    assert repeated_modules(Network(body=series(1))) == ["body.0.blocks.0", "body.0.blocks.1"]


def test_residual_groups_are_taken_by_name_where_there_are_such():
    layers = nn.ModuleList([Network(residual_group=Group(), conv=nn.Conv2d(3, 3, 1)) for _ in range(2)])
    assert feature_modules(Network(layers=layers), None) == ["layers.0.residual_group", "layers.1.residual_group"]


def test_a_pattern_decides_and_one_that_matches_nothing_is_told():
    network = Network(body=series(2))
    assert feature_modules(network, "body.1*") == [name for name, _ in network.named_modules() if "body.1" in name]
    with pytest.raises(CompSRTError, match=r"distill\.features 'layers\.\*' matches no module of Network"):
        feature_modules(network, "layers.*")


def test_a_network_without_a_series_has_no_groups():
    assert feature_modules(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()), None) == []
