"""Quantizers with aligned zero points and with per-token scales."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compsrt_plugin.quant import Mode, NetworkSpec, Quantizer, QuantSpec, calibrate, convert
from compsrt_plugin.quant.matmul import apply_quantizer
from compsrt_plugin.quant.quantizer import MOST_COUNTED, distinct_values


def quantizer(bits: int, aligned: bool) -> Quantizer:
    spec = QuantSpec(bits, "none", "per_channel", scalar_decomposition=False, aligned_zero_point=aligned)
    made = Quantizer(spec, rows=50)
    generator = torch.Generator().manual_seed(bits)
    lower = -torch.rand(50, 1, generator=generator)
    made.set_bounds(lower, lower + 0.5 + torch.rand(50, 1, generator=generator))
    return made


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_an_aligned_zero_point_is_a_whole_number_of_quarter_scales(bits: int):
    free, aligned = quantizer(bits, False), quantizer(bits, True)
    (s, z), (aligned_s, aligned_z) = free.scale_and_zero_point(), aligned.scale_and_zero_point()
    quarters = 4 * aligned_z / aligned_s
    assert torch.equal(s, aligned_s)
    assert torch.allclose(quarters, quarters.round(), atol=1e-4) and not torch.allclose(4 * z / s, (4 * z / s).round())
    assert bool(((aligned_z - z).abs() <= s / 8 * 1.001).all())


def test_alignment_lets_gradients_pass():
    free, aligned = quantizer(3, False), quantizer(3, True)
    for made in (free, aligned):
        s, z = made.scale_and_zero_point()
        (2 * s + 3 * z).sum().backward()
    assert torch.equal(free.lower.grad, aligned.lower.grad) and torch.equal(free.upper.grad, aligned.upper.grad)


def token_quantizer(transform: str = "hadamard", bits: int = 3) -> Quantizer:
    made = Quantizer(QuantSpec(bits, transform, "per_token"))
    made.set_bounds(-0.7, 0.8)
    made.mode = Mode.ON
    return made


@pytest.mark.parametrize("transform", ["none", "hadamard", "hadamard_signed"])
def test_scales_of_tokens_follow_the_token(transform: str):
    made, x = token_quantizer(transform), torch.randn(7, 12, generator=torch.Generator().manual_seed(0))
    factors = 2.0 ** torch.arange(-3, 4)[:, None]
    with torch.no_grad():
        assert torch.equal(made(x * factors), made(x) * factors)
        assert torch.equal(made(x)[3:4], made(x[3:4]))  # whatever else there is


def test_per_token_codes_are_limited_to_their_bits():
    made = token_quantizer(bits=2)
    x = torch.randn(50, 16) * torch.logspace(-4, 4, 50)[:, None]
    assert set(made.codes(made.transform(x)).unique().tolist()) == {0, 1, 2, 3}
    assert made(torch.zeros(2, 16)).abs().max() < 1e-7


def test_gradients_of_scales_of_tokens_are_in_units_of_the_token():
    made, x = token_quantizer("none"), torch.randn(9, 16, generator=torch.Generator().manual_seed(1))
    grad = torch.randn(9, 16, generator=torch.Generator().manual_seed(2))
    largest = x.abs().max(-1, keepdim=True).values
    made(x).backward(grad)
    plain = Quantizer(QuantSpec(3, "none"))
    plain.set_bounds(-0.7, 0.8)
    plain.mode = Mode.ON
    (plain(x / largest) * largest).backward(grad)
    for ours, theirs in ((made.lower, plain.lower), (made.upper, plain.upper), (made.alpha, plain.alpha)):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_bounds_of_tokens_are_searched_in_their_units():
    network = nn.Sequential(nn.Linear(16, 16))
    spec = NetworkSpec(QuantSpec(4), QuantSpec(4, granularity="per_token", search="minmax"))
    convert(network, spec)
    calibrate(network, [torch.randn(40, 16) * torch.logspace(-2, 3, 40)[:, None]])
    found = network[0].input_quantizer
    assert max(-found.lower.item(), found.upper.item()) == pytest.approx(1)
    assert found.upper.item() - found.lower.item() <= 2


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_values_beyond_the_bounds_get_the_outermost_codes(bits: int, compiled: bool, monkeypatch: pytest.MonkeyPatch):
    if not compiled:
        monkeypatch.setattr("compsrt_plugin.native.usable", lambda *_: False)
    quantizer = Quantizer(QuantSpec(bits, "none"))
    quantizer.set_bounds(-1.0, 1.0)
    quantizer.mode = Mode.ON
    x = torch.tensor([[-50.0, -1.0, 1.0, 50.0]])
    outermost = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])
    for found in (quantizer.quantize(x), quantizer(x), quantizer.decode(quantizer.codes(x))):
        torch.testing.assert_close(found.detach(), outermost)
    assert quantizer.codes(x).tolist() == [[0, 0, 2**bits - 1, 2**bits - 1]]


def test_codes_of_a_token_are_those_of_its_values_in_units_of_its_magnitude():
    made = Quantizer(QuantSpec(3, "none", "per_token"))
    made.set_bounds(torch.tensor(-0.5), torch.tensor(0.9))
    made.mode = Mode.ON
    x = torch.randn(6, 10, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)[:, None]
    unit = x.abs().amax(-1, keepdim=True)
    assert torch.equal(made.codes(x), ((x / unit + 0.5) / (1.4 / 7)).round().clamp(0, 7))


def test_distinct_values_are_the_values():
    assert distinct_values(torch.tensor([5.0, -3.0, 5.0])) == {-3, 5}
    far = 2 * MOST_COUNTED
    assert distinct_values(torch.tensor([far, 1, far])) == {1, far}
    assert distinct_values(torch.tensor([0, MOST_COUNTED])) == {0, MOST_COUNTED}
    assert distinct_values(torch.zeros(0)) == set()


def test_a_product_goes_through_the_quantizers_that_it_has():
    made = quantizer(3, False)
    made.mode = Mode.ON
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(apply_quantizer(made, x), made(x)) and not torch.equal(made(x), x)
    assert apply_quantizer(None, x) is x


@pytest.mark.parametrize(("lower", "upper", "mode"), [(0.0, 0.0, Mode.OFF), (0.0, 0.5, Mode.ON), (-0.5, 0.0, Mode.ON)])
def test_loaded_bounds_switch_on_unless_both_are_zero(lower: float, upper: float, mode: Mode):
    made, other = (Quantizer(QuantSpec(4, "none", scalar_decomposition=False)) for _ in range(2))
    made.set_bounds(torch.tensor(lower), torch.tensor(upper))
    other.load_state_dict(made.state_dict())
    assert other.mode is mode
