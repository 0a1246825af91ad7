from __future__ import annotations

import doctest

import pytest
import torch
from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import (
    Mode,
    NetworkSpec,
    QuantConv2d,
    QuantLinear,
    QuantSpec,
    calibrate,
    convert,
    distinct_codes,
    freeze,
    named_quantizers,
    set_mode,
)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 60, 3, padding=1), nn.Flatten(2), Swap(), nn.Linear(60, 120), nn.GELU(), nn.Linear(120, 60)
    ).eval()


class Swap(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


def spec(bits: int = 3, **fields) -> NetworkSpec:
    return NetworkSpec(QuantSpec(bits, **fields), QuantSpec(bits, **{**fields, "granularity": "per_tensor"}))


IMAGES = [torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(3)]


def test_the_ten_lines_in_the_docstring_run():
    import importlib

    module = importlib.import_module("compsrt_plugin.quant.convert")
    result = doctest.testmod(module)
    assert result.attempted > 5 and result.failed == 0


def test_linears_and_convolutions_are_swapped_and_nothing_else():
    network = convert(small_network(), spec())
    kinds = [type(module).__name__ for module in network]
    assert kinds == ["QuantConv2d", "Flatten", "Swap", "QuantLinear", "GELU", "QuantLinear"]
    names = [name for name, _ in named_quantizers(network)]
    assert names == ["0.weight", "3.weight", "3.input", "5.weight", "5.input"]


def test_with_quantizers_off_the_network_is_the_old_one_to_the_bit():
    network, old = convert(small_network(), spec()), small_network()
    assert torch.equal(network(IMAGES[0]), old(IMAGES[0]))


@pytest.mark.parametrize("transform", ["none", "hadamard"])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize(
    ("codes", "bits"), [("strict", 2), ("strict", 3), ("strict", 4), ("strict", 8), ("paper", 2), ("paper", 4)]
)
def test_freezing_to_codes_changes_no_output_bit(bits: int, transform: str, granularity: str, codes: str):
    network = convert(small_network(), spec(bits, transform=transform, granularity=granularity, codes=codes))
    calibrate(network, IMAGES)
    if codes == "paper":
        for _, quantizer in named_quantizers(network):  # as trained alphas do: more codes than bits hold
            if quantizer.alpha is not None:
                span = (quantizer.upper - quantizer.lower).detach().min()
                nn.init.constant_(quantizer.alpha, -0.3 * float(span) / 2**bits)
    before = network(IMAGES[0]).detach()
    freeze(network)
    assert torch.equal(network(IMAGES[0]), before)
    assert all(layer.weight is None for layer in network if isinstance(layer, (QuantLinear, QuantConv2d)))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_no_quantizer_of_a_calibrated_network_uses_more_codes_than_its_bits_hold(bits: int):
    network = convert(small_network(), spec(bits))
    calibrate(network, IMAGES)
    counts = distinct_codes(network, IMAGES)
    widths = {name: q.spec.bits for name, q in named_quantizers(network)}
    assert counts.keys() == widths.keys()
    assert all(1 < counts[name] <= 2 ** widths[name] for name in counts)


def test_more_bits_come_nearer_to_full_precision():
    full = small_network()(IMAGES[0])
    errors = []
    for bits in (2, 3, 4, 8):
        network = convert(small_network(), spec(bits))
        calibrate(network, IMAGES)
        errors.append(float((network(IMAGES[0]) - full).detach().norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05 * float(full.norm())


def test_an_override_changes_the_layers_it_names_and_the_later_one_wins():
    overrides = {"5": {"bits": 4}, "5.input": {"bits": 8}}
    network = convert(small_network(), NetworkSpec(QuantSpec(2), QuantSpec(2), 8, overrides))
    widths = {name: q.spec.bits for name, q in named_quantizers(network)}
    assert widths == {"0.weight": 8, "3.weight": 2, "3.input": 2, "5.weight": 4, "5.input": 8}


def test_keep_leaves_a_layer_in_full_precision():
    network = convert(small_network(), NetworkSpec(overrides={"5": {"keep": True}}))
    assert type(network[5]) is nn.Linear and isinstance(network[3], QuantLinear)


def test_convolutions_stay_as_they_are_without_conv_bits():
    network = convert(small_network(), NetworkSpec(conv_bits=None))
    assert type(network[0]) is nn.Conv2d


def test_inputs_of_convolutions_are_quantized_where_the_spec_says_so():
    overrides = {"0": {"transform": "hadamard", "bits": 4}}  # a row of pixels is not transformed
    network = convert(small_network(), NetworkSpec(conv_input_bits=8, overrides=overrides))
    conv = network[0]
    assert isinstance(conv, QuantConv2d) and conv.input_quantizer is not None
    assert (conv.input_quantizer.spec.bits, conv.input_quantizer.spec.transform) == (4, "none")
    x = torch.rand(1, 3, 8, 8)
    plain = network(x)
    calibrate(network, [x])
    assert distinct_codes(network, [x])["0.input"] == 16
    with torch.no_grad():
        taken = conv.input_quantizer(x)
        weight = conv.quantized_matrix()
        weight = conv.weight_quantizer.inverse(weight, 27).view(conv.weight_shape)
        wanted = nn.functional.conv2d(taken, weight, conv.bias, padding=conv.padding)
    assert torch.equal(conv(x), wanted)
    set_mode(network, Mode.OFF)
    assert torch.equal(network(x), plain)


def test_an_override_that_matches_nothing_is_refused():
    with pytest.raises(CompSRTError, match="fc7"):
        convert(small_network(), NetworkSpec(overrides={"*.fc7": {"bits": 4}}))


def test_a_network_without_such_layers_is_refused():
    with pytest.raises(CompSRTError, match="ReLU"):
        convert(nn.ReLU(), NetworkSpec())


def test_calibration_names_the_layer_whose_values_are_not_finite():
    network = convert(small_network(), spec())
    with pytest.raises(CompSRTError, match=r"3\.input"):
        calibrate(network, [torch.full((1, 3, 8, 8), float("nan"))])


def test_calibration_without_images_is_refused():
    with pytest.raises(CompSRTError, match="batch"):
        calibrate(convert(small_network(), spec()), [])


def test_strict_products_are_taken_in_the_transformed_domain_and_agree_with_going_back():
    network = convert(nn.Sequential(nn.Linear(64, 32)), spec(8))  # width 64: nothing is cropped
    x = torch.randn(50, 64)
    calibrate(network, [x])
    layer = network[0]
    there_and_back = layer.input_quantizer(x) @ layer.weight_quantizer(layer.weight).T + layer.bias
    assert torch.allclose(network(x), there_and_back, atol=1e-4)
    set_mode(network, Mode.OFF)
    assert torch.equal(network(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_published_codes_beyond_a_byte_are_refused_by_name():
    network = convert(nn.Sequential(nn.Linear(16, 16)), NetworkSpec(weight=QuantSpec(codes="paper")))
    calibrate(network, [torch.randn(8, 16)])
    quantizer = network[0].weight_quantizer
    quantizer.alpha.data.copy_(-(quantizer.upper - quantizer.lower) / 15)  # the scale falls to its floor
    with pytest.raises(CompSRTError, match=r"0\.weight: its published codes span .* at nominal 4 bits"):
        freeze(network)
