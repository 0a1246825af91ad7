"""Fake quantization equals the published quantizer's numbers and autograd's gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from compsrt_plugin.quant import Mode, Quantizer, QuantSpec
from compsrt_plugin.quant.fake import (
    MIN_SCALE,
    StrictFakeQuantize,
    _clip,
    dequantize,
    integer_codes,
    largest_magnitude,
    paper_codes,
    paper_fake_quantize,
    strict_fake_quantize,
)

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "reference_quantizer.npz"
CASES = [f"{i}" for i in range(18)]


def case(index: str) -> dict[str, torch.Tensor]:
    with np.load(FIXTURE) as data:
        return {
            key.split("/")[1]: torch.as_tensor(data[key])
            for key in data.files
            if key.startswith(f"{index}/") and data[key].dtype.kind == "f"
        } | {"bit": torch.as_tensor(int(data[f"{index}/bit"]))}


def paper_quantizer(values: dict[str, torch.Tensor]) -> Quantizer:
    quantizer = Quantizer(QuantSpec(bits=int(values["bit"]), codes="paper"))
    quantizer.set_bounds(values["lb"], values["ub"])
    quantizer.mode = Mode.ON
    return quantizer


def near_a_tie(quantizer: Quantizer, x: torch.Tensor) -> torch.Tensor:
    """Rows of x in which some value lies so near a rounding threshold that float rounding decides its code."""
    scale, zero_point = quantizer.scale_and_zero_point()
    domain = quantizer.transform(x)
    t = (torch.minimum(torch.maximum(domain, quantizer.lower), quantizer.upper) - zero_point) / scale
    return ((t - t.floor() - 0.5).abs() < 1e-4).any(-1)


def assert_same_but_for_ties(found: torch.Tensor, expected: torch.Tensor, ties: torch.Tensor) -> None:
    scale = expected.abs().max()
    wrong = ((found - expected).abs() > 2e-5 * scale).any(-1)
    assert not (wrong & ~ties).any()
    assert wrong.float().mean() < 0.02


@pytest.mark.parametrize("index", CASES)
def test_paper_mode_computes_what_the_published_quantizer_computes(index: str):
    values = case(index)
    quantizer = paper_quantizer(values)
    ties = near_a_tie(quantizer, values["x"])
    assert_same_but_for_ties(quantizer(values["x"]).detach(), values["y_init"], ties)
    with torch.no_grad():
        quantizer.alpha.fill_(values["alpha"])
        quantizer.beta.fill_(values["beta"])
    assert_same_but_for_ties(quantizer(values["x"]).detach(), values["y"], near_a_tie(quantizer, values["x"]))


@pytest.mark.parametrize("index", CASES)
def test_paper_mode_has_the_gradients_of_the_published_quantizer(index: str):
    values = case(index)
    quantizer = paper_quantizer(values)
    with torch.no_grad():
        quantizer.alpha.fill_(values["alpha"])
        quantizer.beta.fill_(values["beta"])
    x = values["x"].clone().requires_grad_()
    (quantizer(x) * values["w"]).sum().backward()
    assert torch.allclose(x.grad, values["gx"], atol=1e-4)
    # A code flipped by rounding moves the sum that l, u and alpha receive by one output weight; never more.
    slack = 1e-3 * values["w"].abs().sum().sqrt() + 0.02 * near_a_tie(quantizer, values["x"]).sum()
    for parameter, key in ((quantizer.lower, "glb"), (quantizer.upper, "gub"), (quantizer.alpha, "ga")):
        assert abs(parameter.grad - values[key]) <= slack, key


def test_beta_never_trains_in_paper_mode_but_does_in_strict_mode():
    x = torch.randn(64, 60)
    gradients = {}
    for codes in ("paper", "strict"):
        quantizer = Quantizer(QuantSpec(bits=3, codes=codes))
        quantizer.set_bounds(-1.0, 1.0)
        quantizer.mode = Mode.ON
        (quantizer(x) * torch.randn(64, 60)).sum().backward()
        gradients[codes] = abs(float(quantizer.beta.grad))
    assert gradients["paper"] < 1e-3 < gradients["strict"]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_strict_codes_never_exceed_their_bits_whatever_alpha_and_beta(bits: int):
    generator = torch.Generator().manual_seed(bits)
    for _ in range(60):
        quantizer = Quantizer(QuantSpec(bits=bits, codes="strict"))
        low, width, alpha, beta = torch.randn(4, generator=generator) * 3
        quantizer.set_bounds(low, low + width)  # upper below lower, too
        with torch.no_grad():
            quantizer.alpha.copy_(alpha)
            quantizer.beta.copy_(beta)
        x = torch.randn(512, 60, generator=generator) * 10
        codes = quantizer.codes(quantizer.transform(x))
        assert torch.equal(codes, codes.round())
        assert codes.min() >= 0 and codes.max() <= 2**bits - 1
        assert quantizer.quantize(quantizer.transform(x)).unique().numel() <= 2**bits


def test_paper_codes_do_exceed_their_bits_once_alpha_shrinks_the_step():
    x = torch.linspace(-1, 1, 1000)
    codes = paper_codes(x, torch.tensor(-1.0), torch.tensor(1.0), torch.tensor(0.1), torch.tensor(-1.0))
    assert codes.unique().numel() == 21  # of the 4 that two bits hold


def strict_by_autograd(x, scale, zero_point, top):
    """The same function in plain torch operations with a straight-through round."""
    t = (x - zero_point) / scale
    rounded = t + (t.round() - t).detach()
    return rounded.clamp(0, top) * scale + zero_point


@pytest.mark.parametrize("shape", [(), (6, 1)])
def test_the_hand_written_strict_backward_equals_autograd(shape: tuple[int, ...]):
    torch.manual_seed(0)
    x = torch.randn(6, 50, dtype=torch.float64)
    scale = torch.rand(shape, dtype=torch.float64) * 0.2 + 0.2
    zero_point = torch.randn(shape, dtype=torch.float64) * 0.1 - 0.5
    # Between −0.5 and 0 and between 7 and 7.5 the clamp of t and of its rounded value differ; elsewhere all agree.
    t = (x - zero_point) / scale
    edge = ((t > -0.5) & (t < 0)) | ((t > 7) & (t < 7.5))
    weight = torch.randn(6, 50, dtype=torch.float64) * ~edge
    assert ((t < -0.5) & ~edge).any() and ((t > 7.5) & ~edge).any() and edge.any()
    gradients = []
    for function in (StrictFakeQuantize.apply, strict_by_autograd):
        leaves = [t.clone().requires_grad_() for t in (x, scale, zero_point)]
        y = function(*leaves, 7)
        (y * weight).sum().backward()
        gradients.append((y.detach(), *(leaf.grad for leaf in leaves)))
    for ours, theirs in zip(*gradients):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-9)


def test_strict_scale_and_zero_point_gradients_follow_lsq():
    x = torch.tensor([-2.0, 0.3, 0.9, 5.0], dtype=torch.float64)
    scale = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    zero_point = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    grad = torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
    (StrictFakeQuantize.apply(x, scale, zero_point, 3) * grad).sum().backward()
    # t = -4, 0.6, 1.8, 10 -> r = 0, 1, 2, 3; inside: the middle two
    assert scale.grad.item() == pytest.approx(1 * 0 + 10 * (1 - 0.6) + 100 * (2 - 1.8) + 1000 * 3)
    assert zero_point.grad.item() == pytest.approx(1 + 1000)


def test_values_decode_from_codes_to_the_bit():
    x = torch.randn(100, 64)
    scale, zero_point = torch.tensor(0.37), torch.tensor(-1.3)
    codes = integer_codes(x, scale, zero_point, 15)
    assert torch.equal(
        StrictFakeQuantize.apply(x, scale, zero_point, 15), dequantize(codes.to(torch.uint8).float(), scale, zero_point)
    )


def on_bounds(function: Callable[..., torch.Tensor]) -> list[float]:
    """Return the gradients of x, lower and upper, each of the elements summed, where two elements are on the bounds."""
    x, lower, upper = (torch.tensor(v, requires_grad=True) for v in ([-1.0, -0.3, 1.0], -1.0, 1.0))
    (function(x, lower, upper) * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    return [float(leaf.grad.sum()) for leaf in (x, lower, upper)]


def test_an_element_on_a_bound_keeps_its_gradient_traced_or_not():
    inside = torch.tensor([-0.5, 0.3, 0.5]), torch.tensor(-1.0), torch.tensor(1.0)
    traced = torch.jit.trace(lambda x, lower, upper: _clip(x, lower, upper), inside)
    assert on_bounds(_clip) == on_bounds(traced) == [111.0, 0.0, 0.0]


@pytest.mark.parametrize("codes", ["strict", "paper"])
def test_what_is_traced_has_the_values_and_gradients_of_what_is_not(codes: str):
    def compute(x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor) -> torch.Tensor:
        if codes == "strict":
            return strict_fake_quantize(x, scale, zero_point, 7)
        return paper_fake_quantize(x, zero_point, zero_point + 7 * scale, scale, zero_point)

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, generator=generator, dtype=torch.float64) * 3
    scale, zero_point = (torch.tensor(v, dtype=torch.float64) for v in (0.4, -1.3))
    found = []
    for function in (compute, torch.jit.trace(compute, (x, scale, zero_point))):
        leaves = [leaf.clone().requires_grad_() for leaf in (x, scale, zero_point)]
        y = function(*leaves)
        (y * torch.arange(1.0, 41.0)).sum().backward()
        found.append([y.detach(), *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_without_a_tracer_nothing_of_the_size_of_x_is_kept_for_backward():
    x = torch.randn(4, requires_grad=True)
    assert "StrictFakeQuantize" in strict_fake_quantize(x, torch.tensor(0.4), torch.tensor(-1.0), 7).grad_fn.name()
    assert "_Clip" in _clip(x, torch.tensor(-1.0), torch.tensor(1.0)).grad_fn.name()


def test_vectors_without_elements_have_a_magnitude_too():
    assert largest_magnitude(torch.zeros(2, 3, 0)).tolist() == torch.full((2, 3, 1), MIN_SCALE).tolist()
