from __future__ import annotations

import doctest
import importlib
import math

import pytest
import torch
from torch import nn

from compsrt_plugin.analysis.sizes import CodeSizes
from compsrt_plugin.analysis.sizes.layer_sizes import mask_bits, mask_entropy_bits, measure_layer
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, freeze


@pytest.mark.parametrize("module", ["layer_sizes", "size_table"])
def test_the_examples_in_the_docstrings_run(module: str):
    result = doctest.testmod(importlib.import_module(f"compsrt_plugin.analysis.sizes.{module}"))
    assert result.attempted > 0 and result.failed == 0


def layer(bits: int, mask: torch.Tensor | None = None):
    torch.manual_seed(0)
    network = convert(nn.Sequential(nn.Linear(60, 120)), NetworkSpec(QuantSpec(bits), QuantSpec(bits)))
    network[0].weight_mask = mask
    calibrate(network, [torch.randn(50, 60)])
    return measure_layer("fc1", freeze(network)[0], 1000)


def test_without_pruning_a_weight_takes_its_bits_and_less_by_entropy():
    found = layer(3)
    assert found.sizes.weights == 120 * 60 and found.sizes.codes == 120 * 64
    assert found.sizes.bits_per_weight == 3 and 2 < found.sizes.entropy_bits_per_weight < 3
    assert (found.bits, found.activation_bits, found.kind, found.sizes.bytes) == (3, 3, "linear", 1000)


@pytest.mark.parametrize(("bits", "expected"), [(4, 3.4), (3, 2.8)])
def test_with_two_fifths_pruned_it_takes_what_the_paper_says(bits: int, expected: float):
    mask = (torch.arange(120 * 64) % 5 > 1)[torch.randperm(120 * 64)].view(120, 64)
    found = layer(bits, mask).sizes
    assert found.pruned_share == pytest.approx(0.4)
    assert found.bits_per_weight == pytest.approx(expected)
    assert found.entropy_bits_per_weight < expected


def test_a_mask_of_whole_channels_takes_a_bit_for_each():
    rows = (torch.arange(120) % 2 > 0)[:, None].expand(120, 64)
    assert mask_bits(rows) == 120 and mask_bits(rows.T) == 120
    assert mask_entropy_bits(rows) == pytest.approx(120)
    scattered = torch.rand(120, 64) > 0.4
    share = scattered.double().mean().item()
    expected = -7680 * (share * math.log2(share) + (1 - share) * math.log2(1 - share))
    assert mask_bits(scattered) == 7680 and mask_entropy_bits(scattered) == pytest.approx(expected)
    assert mask_entropy_bits(torch.ones(3, 4, dtype=torch.bool)) == 0


def test_sizes_add_up():
    one, other = CodeSizes(1, 2, 1, 3.0, 2.5, 10), CodeSizes(10, 20, 5, 30.0, 25.0, 100)
    assert CodeSizes.sum([one, other]) == CodeSizes(11, 22, 6, 33.0, 27.5, 110)
    assert CodeSizes().bits_per_weight == CodeSizes().pruned_share == 0
