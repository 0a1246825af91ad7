"""GPTQ: errors compensate each other, and the shift makes a weight round to its codes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin.quant import Quantizer, QuantLinear, QuantSpec, calibrate, convert, freeze, set_mode
from compsrt_plugin.quant.passes.gptq import gptq_codes, round_compensated, shift_to
from compsrt_plugin.quant.quantizer import Mode
from compsrt_plugin.quant.spec import NetworkSpec


def inputs(count: int = 400, width: int = 24) -> Tensor:
    """Correlated, as activations are."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, width, generator=generator) @ torch.randn(width, width, generator=generator)


def layer_of(bits: int = 3, granularity: str = "per_channel", transform: str = "hadamard_signed") -> QuantLinear:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(24, 20))
    activation = QuantSpec(bits, transform)
    convert(network, NetworkSpec(QuantSpec(bits, transform, granularity, scalar_decomposition=False), activation))
    calibrate(network, [inputs()])
    assert isinstance(network[0], QuantLinear)
    return network[0]


def gram_of(layer: QuantLinear) -> Tensor:
    x = layer.weight_quantizer.transform(inputs()).double()
    return x.T @ x


def output_error(layer: QuantLinear, value: Tensor, gram: Tensor) -> float:
    target = layer.weight_quantizer.transform(layer.weight_matrix()).detach().double()
    if layer.weight_mask is not None:
        target = target * layer.weight_mask
    error = value.detach().double() - target
    return float(((error @ gram) * error).sum())


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_outputs_are_nearer_than_with_the_nearest_codes(bits: int, granularity: str):
    layer = layer_of(bits, granularity)
    gram = gram_of(layer)
    before = output_error(layer, layer.quantized_matrix(), gram)
    round_compensated(layer, gram)
    assert output_error(layer, layer.quantized_matrix(), gram) < 0.7 * before


def test_a_weight_is_shifted_to_its_codes_and_no_further():
    layer = layer_of()
    quantizer, gram = layer.weight_quantizer, gram_of(layer)
    weight = quantizer.transform(layer.weight_matrix()).detach().double()
    codes = gptq_codes(weight, quantizer, gram)
    round_compensated(layer, gram)
    assert torch.equal(quantizer.codes(layer.transformed_matrix()).double(), codes)
    assert set(codes.unique().tolist()) <= set(range(8))
    same = quantizer.codes(weight.float()).double() == codes
    assert 0.1 < float(same.double().mean()) < 0.99
    assert bool((layer.weight_shift[same] == 0).all())
    scale = quantizer.scale_and_zero_point()[0].detach().double()
    position = (weight + layer.weight_shift - quantizer.scale_and_zero_point()[1]) / scale
    assert ((position - codes).abs()[~same] - 0.49).clamp_min(0).max() < 1e-3


def test_a_weight_on_a_tie_is_shifted_to_either_code():
    quantizer = Quantizer(QuantSpec(3, "none", scalar_decomposition=False))
    quantizer.set_bounds(0.0, 7.0)  # codes are the values
    weight = torch.tensor([[2.5, 2.5, 3.5, 3.5]], dtype=torch.float64)
    codes = torch.tensor([[2.0, 3.0, 3.0, 4.0]], dtype=torch.float64)
    assert torch.equal(quantizer.codes((weight + shift_to(codes, weight, quantizer)).float()).double(), codes)


@pytest.mark.parametrize("unit", [1e-8, 1e-3, 1e4])
def test_codes_do_not_depend_on_the_unit_of_the_inputs(unit: float):
    layer = layer_of()
    weight, gram = layer.weight_quantizer.transform(layer.weight_matrix()).detach().double(), gram_of(layer)
    wanted = gptq_codes(weight, layer.weight_quantizer, gram)
    assert torch.equal(gptq_codes(weight, layer.weight_quantizer, gram * unit), wanted)


def test_uncorrelated_inputs_leave_the_nearest_codes():
    layer = layer_of(transform="none")
    quantizer = layer.weight_quantizer
    weight = layer.weight_matrix().detach().double()
    codes = gptq_codes(weight, quantizer, torch.diag(torch.rand(24).double() + 0.1))
    assert torch.equal(codes, quantizer.codes(weight.float()).double())
    assert not shift_to(codes, weight, quantizer).any()


def test_a_layer_whose_inputs_are_all_zero_keeps_the_nearest_codes():
    layer = layer_of()
    round_compensated(layer, torch.zeros(32, 32, dtype=torch.float64))
    assert layer.weight_shift is not None and not layer.weight_shift.any()


def test_pruned_weights_stay_out_of_it():
    layer = layer_of()
    layer.weight_mask = torch.rand(20, 32, generator=torch.Generator().manual_seed(1)) > 0.4
    gram = gram_of(layer)
    before = output_error(layer, layer.quantized_matrix(), gram)
    round_compensated(layer, gram)
    after = layer.quantized_matrix()
    assert bool((after[~layer.weight_mask] == 0).all())
    assert output_error(layer, after, gram) < before


def test_freezing_changes_no_bit_and_a_state_brings_the_shift_back():
    layer, x = layer_of(), inputs(50)
    round_compensated(layer, gram_of(layer))
    with torch.no_grad():
        wanted = layer(x)
    again = layer_of()
    again.load_state_dict(layer.state_dict())
    set_mode(again, Mode.ON)
    with torch.no_grad():
        assert torch.equal(again(x), wanted)
        assert torch.equal(freeze(nn.Sequential(layer))(x), wanted)
    assert layer.weight_shift is None


def test_weights_train_on_from_their_codes():
    layer = layer_of()
    round_compensated(layer, gram_of(layer))
    layer(inputs(50)).square().sum().backward()
    assert layer.weight.grad is not None and float(layer.weight.grad.abs().sum()) > 0


def one_at_a_time(weight: Tensor, layer: QuantLinear, gram: Tensor, mask: Tensor | None) -> Tensor:
    """Return the codes as the paper derives them: the inverse taken anew for the columns that are left."""
    scale, zero_point = (part.detach().double() for part in layer.weight_quantizer.scale_and_zero_point())
    hessian = gram + 0.01 * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    left, codes = weight.clone() if mask is None else weight * mask, torch.zeros_like(weight)
    rest = gram.diagonal().argsort(descending=True, stable=True)
    while len(rest):
        column, inverse = left[:, rest[:1]], torch.linalg.inv(hessian[rest][:, rest])
        code = ((column - zero_point) / scale).round().clamp(0, layer.weight_quantizer.spec.levels - 1)
        value = (scale * code + zero_point) * (1 if mask is None else mask[:, rest[:1]])
        codes[:, rest[:1]] = code
        left[:, rest] -= (column - value) * inverse[0] / inverse[0, 0]
        rest = rest[1:]
    return codes


@pytest.mark.parametrize("masked", [False, True])
def test_codes_are_those_of_the_derivation_the_column_that_counts_most_first(masked: bool):
    layer = layer_of()
    gram = gram_of(layer) * torch.linspace(0.2, 2, 32, dtype=torch.float64).outer(torch.linspace(0.2, 2, 32).double())
    weight = layer.weight_quantizer.transform(layer.weight_matrix()).detach().double()
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) > 0.3 if masked else None
    codes = gptq_codes(weight, layer.weight_quantizer, gram, mask)
    assert torch.equal(codes, one_at_a_time(weight, layer, gram, mask))
    assert not torch.equal(codes, layer.weight_quantizer.codes(weight))
