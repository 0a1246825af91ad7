"""Inputs of `calibrate` and similar functions that are not tensors are refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, distinct_codes

X = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))


class OfList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, pair: list[Tensor]) -> Tensor:
        return self.layer(pair[0] + pair[1])


def converted(network: nn.Module) -> nn.Module:
    return convert(network, NetworkSpec(QuantSpec(4), QuantSpec(4)))


@pytest.mark.parametrize("batches", [DataLoader(TensorDataset(X), 4), [{"lq": X}], [(X, X)], [X.numpy()]])
def test_batches_that_are_no_tensors_are_named(batches):
    network = converted(nn.Sequential(nn.Linear(16, 16)))
    with pytest.raises(CompSRTError, match=r"batch is a \w+, .* allowed: tensors; extract them"):
        calibrate(network, batches)
    calibrate(network, [X])
    with pytest.raises(CompSRTError, match="batch is a "):
        distinct_codes(network, batches)


def test_a_network_that_takes_lists_is_given_them():
    network = converted(OfList())
    batches: Any = [[X, X]]
    calibrate(network, batches)
    assert set(distinct_codes(network, batches)) == {"layer.weight", "layer.input"}
