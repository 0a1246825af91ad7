"""Transforms at all widths: orthonormal, inverted by the transpose, equal products in and out of the domain."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, freeze
from compsrt_plugin.quant.quantizer import Quantizer
from compsrt_plugin.quant.transforms import TRANSFORMS
from compsrt_plugin.quant.transforms.block import powers_of_two
from compsrt_plugin.quant.transforms.exact import log_padding
from compsrt_plugin.quant.transforms.registry import transform_matrix
from compsrt_plugin.quant.transforms.signed import rudin_shapiro

CPU = torch.device("cpu")
SIGNED = ["hadamard_signed", "hadamard_exact", "hadamard_block"]
WIDTHS = [1, 2, 10, 12, 48, 60, 64, 90, 92, 96, 120, 144, 180, 192]


def test_names_of_released_transforms_and_their_order_stay():
    names = ["none", "hadamard", "hadamard_softmax", "hadamard_signed", "hadamard_exact", "hadamard_block"]
    assert [name for name, transform in TRANSFORMS.items() if transform.name == name] == names


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("transform", SIGNED)
def test_rows_are_orthonormal(transform: str, width: int):
    matrix = TRANSFORMS[transform].matrix(width, CPU, torch.float64)
    assert matrix.shape[0] == width
    assert torch.allclose(matrix @ matrix.T, torch.eye(width, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("width", [12, 60, 92, 96, 180])
def test_an_exact_transform_has_no_padding_and_entries_of_one_size(width: int):
    matrix = TRANSFORMS["hadamard_exact"].matrix(width, CPU, torch.float64)
    assert matrix.shape == (width, width)
    assert set(matrix.abs().unique().tolist()) == {1 / math.sqrt(width)}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_quantizer_of_many_bits_gives_the_tensor_back(transform: str, width: int):
    quantizer = Quantizer(QuantSpec(8, transform))
    x = torch.randn(5, 7, width).softmax(-1) if transform == "hadamard_softmax" else torch.randn(5, 7, width)
    back = quantizer.inverse(quantizer.transform(x), width)
    assert back.shape == x.shape and torch.allclose(back, x, atol=1e-5)


def test_a_width_without_an_order_is_padded_and_that_is_logged(basicsr_log: pytest.LogCaptureFixture):
    transform_matrix.cache_clear()
    log_padding.cache_clear()
    with basicsr_log.at_level(logging.INFO, logger="basicsr"):
        exact = [TRANSFORMS["hadamard_exact"].matrix(90, CPU, torch.float64) for _ in range(2)]
    assert [record.message for record in basicsr_log.records] == [
        "hadamard_exact: no Hadamard matrix of order 90 is available, padded to 128 instead"
    ]
    assert torch.equal(exact[0], TRANSFORMS["hadamard_signed"].matrix(90, CPU, torch.float64))


def test_signs_spread_the_mean_over_all_coefficients():
    ones = torch.ones(1, 64, dtype=torch.float64)
    plain = TRANSFORMS["hadamard"].forward(ones).abs()
    signed = TRANSFORMS["hadamard_signed"].forward(ones).abs()
    assert plain.max().item() == pytest.approx(8)
    assert torch.allclose(signed, torch.ones_like(signed))


def test_blocks_are_the_powers_of_two_that_sum_up_to_the_width():
    matrix = TRANSFORMS["hadamard_block"].matrix(60, CPU, torch.float64) * rudin_shapiro(60)[:, None]
    start = 0
    for order in powers_of_two(60):
        block = slice(start, start + order)
        assert torch.equal(matrix[block, block] * math.sqrt(order), (matrix[block, block] * math.sqrt(order)).sign())
        matrix[block, block] = 0
        start += order
    assert start == 60 and not matrix.any()


@pytest.mark.parametrize("transform", SIGNED)
@pytest.mark.parametrize("width", [12, 60, 90])
def test_a_linear_layer_agrees_in_and_out_of_the_domain(transform: str, width: int):
    torch.manual_seed(0)
    x = torch.randn(64, width)
    spec = QuantSpec(8, transform)
    network = convert(nn.Sequential(nn.Linear(width, 24)), NetworkSpec(spec, spec))
    calibrate(network, [x])
    layer = network[0]
    there, weight = layer.input_quantizer, layer.weight_quantizer
    outside = F.linear(there(x), weight.inverse(layer.quantized_matrix(), width), layer.bias)
    made = network(x)
    # no padding, no difference; with it, the product of both errors in the padding's columns
    exact = TRANSFORMS[transform].matrix(width, CPU, torch.float32).shape[1] == width
    assert torch.allclose(made, outside, atol=1e-5 if exact else 1e-2)
    freeze(network)
    assert torch.equal(network(x), made)


@pytest.mark.parametrize("transform", SIGNED)
def test_a_packed_file_brings_the_transform_back(transform: str, tmp_path):
    from small_networks import save, small_network

    from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
    from compsrt_plugin.packed import read_packed
    from compsrt_plugin.packed.network_state import load_packed_state

    network = small_network(transform=transform)
    path = save(tmp_path / "a.safetensors", network)
    packed = read_packed(path)
    arch = {key: value for key, value in packed.header["arch"].items() if key != "type"}
    again = CompSRTSwinIR(**arch, quant=packed.header["spec"]).eval()
    load_packed_state(again, packed, str(path))
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(again(image), network(image))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_vectors_lie_along_the_last_axis_however_many_axes_there_are(transform: str):
    forward, inverse = TRANSFORMS[transform].forward, TRANSFORMS[transform].inverse
    x = torch.rand(2, 3, 5, 12, dtype=torch.float64).softmax(-1)
    there = forward(x)
    assert torch.allclose(there.flatten(0, -2), forward(x.flatten(0, -2)))
    back = inverse(there, 12)
    assert back.shape == x.shape and torch.allclose(back, x)


@pytest.mark.parametrize(
    ("transform", "width", "order"),
    [("hadamard_signed", 12, 16), ("hadamard_exact", 12, 12), ("hadamard_exact", 10, 16), ("hadamard_block", 12, 12)],
)
def test_the_width_of_the_domain_follows_from_the_transform(transform: str, width: int, order: int):
    assert TRANSFORMS[transform].matrix(width, CPU, torch.float32).shape == (width, order)
    assert TRANSFORMS[transform].forward(torch.ones(1, width)).shape == (1, order)


def test_a_transform_that_is_padded_anyway_is_not_logged(basicsr_log: pytest.LogCaptureFixture):
    transform_matrix.cache_clear()
    log_padding.cache_clear()
    with basicsr_log.at_level(logging.INFO, logger="basicsr"):
        for transform in ("hadamard_signed", "hadamard_block"):
            TRANSFORMS[transform].matrix(90, CPU, torch.float64)
        TRANSFORMS["hadamard_exact"].matrix(12, CPU, torch.float64)
    assert not basicsr_log.records
