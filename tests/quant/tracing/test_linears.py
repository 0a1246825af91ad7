from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin import native
from compsrt_plugin.analysis.sizes import count_products
from compsrt_plugin.packed.dense import dense_state
from compsrt_plugin.quant import (
    FunctionalLinear,
    NetworkSpec,
    QuantLinear,
    QuantSpec,
    calibrate,
    convert,
    discover,
    distinct_codes,
    freeze,
    named_quantizers,
    quantized_layers,
)

WIDTH = 12
FORMS = {"layer": "body.linear", "own": "body.table_linear", "subclass": "body.linear.weight_linear",
         "above": "table_linear", "argument": "body.table_linear"}  # fmt: skip


class Scaled(nn.Linear):
    """A linear layer with code of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(bias=self.bias, weight=self.weight, input=x)


class Inner(nn.Module):
    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight)


class Body(nn.Module):
    """A linear layer, computed as `form` says; `called` is how it would be written by anybody else."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.bias = nn.Parameter(torch.zeros(WIDTH))
        if form in ("called", "layer", "both"):
            self.linear = nn.Linear(WIDTH, WIDTH, bias=form != "layer")
        elif form == "subclass":
            self.linear = Scaled(WIDTH, WIDTH)
        elif form != "above":
            self.table = nn.Parameter(torch.zeros(WIDTH, WIDTH))
        self.inner = Inner() if form == "argument" else nn.Identity()

    def forward(self, x: Tensor, table: Tensor | None) -> Tensor:
        if self.form in ("called", "subclass"):
            return self.linear(x)
        if self.form == "both":
            return self.linear(x) + F.linear(x, self.linear.weight)
        if self.form == "layer":
            return F.linear(input=x, weight=self.linear.weight, bias=torch.cat([self.bias[:4], self.bias[4:]]))
        if self.form == "argument":
            return self.inner(x, self.table.to(x.dtype)).view(*x.shape[:-1], self.table.shape[0]) + self.bias
        return F.linear(x, self.table if table is None else table, self.bias)


class Network(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.first, self.body, self.last = nn.Conv2d(3, WIDTH, 3, padding=1), Body(form), nn.Conv2d(WIDTH, 3, 3)
        self.table = nn.Parameter(torch.zeros(WIDTH, WIDTH)) if form == "above" else None

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(self.first(x).movedim(1, -1), self.table).movedim(-1, 1))


IMAGES = [torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side)) for side in (16, 24)]


def network(form: str) -> nn.Module:
    """Return a network whose values do not depend on its form."""
    made = Network(form).eval()
    values = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(WIDTH, WIDTH, generator=values), torch.randn(WIDTH, generator=values)
    with torch.no_grad():
        for conv in (made.first, made.last):
            conv.weight.copy_(torch.randn(conv.weight.shape, generator=values))
            conv.bias.copy_(torch.randn(conv.bias.shape, generator=values))
        for name, parameter in made.named_parameters():
            if name.startswith("body.") or name == "table":
                parameter.copy_(weight if parameter.dim() == 2 else bias)
    return made


def quantized(form: str, overrides: Mapping[str, Any] | None = None) -> nn.Module:
    plain = network(form)
    spec = NetworkSpec(QuantSpec(4), QuantSpec(4), overrides=overrides or {})
    return convert(plain, spec, discover(plain, IMAGES))


def calibrated(form: str) -> nn.Module:
    student = quantized(form)
    calibrate(student, IMAGES)
    return student


def output(of: nn.Module) -> Tensor:
    with torch.no_grad():
        return of(IMAGES[0])


@pytest.mark.parametrize("form", FORMS)
def test_a_weight_that_code_reads_is_quantized_with_its_input_by_name(form: str):
    found = {name for name, _ in named_quantizers(quantized(form))}
    assert found == {"first.weight", "last.weight", f"{FORMS[form]}.weight", f"{FORMS[form]}.input"}


@pytest.mark.parametrize("form", FORMS)
def test_with_quantizers_off_nothing_changes_by_a_bit(form: str):
    assert torch.equal(output(quantized(form)), output(network(form)))


@pytest.mark.parametrize("form", FORMS)
def test_it_is_quantized_as_a_layer_that_is_called(form: str):
    expected, plain = output(calibrated("called")), output(network("called"))
    assert not torch.allclose(expected, plain, atol=1e-3)
    torch.testing.assert_close(output(calibrated(form)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_freezing_and_reading_again_change_no_bit(form: str):
    student = calibrated(form)
    counts = distinct_codes(student, IMAGES)
    assert all(1 < counts[f"{FORMS[form]}.{operand}"] <= 16 for operand in ("weight", "input"))
    before = output(student)
    state = freeze(copy.deepcopy(student)).state_dict()
    assert f"{FORMS[form]}.weight_codes" in state and not any(name.endswith("table") for name in state)
    again = freeze(calibrated(form))
    for value in again.state_dict().values():
        value.zero_()
    again.load_state_dict(state)
    assert torch.equal(output(again), before)
    assert torch.equal(output(student), before)


@pytest.mark.parametrize("form", FORMS)
def test_simulated_weights_have_the_names_of_the_full_precision_network(form: str):
    student, plain = calibrated(form), network(form)
    plain.load_state_dict(dense_state(student), strict=True)
    weight = next(value for name, value in plain.named_parameters() if value.dim() == 2)
    layer = dict(quantized_layers(student))[FORMS[form]]
    assert torch.equal(weight, layer.weight_quantizer.inverse(layer.quantized_matrix(), WIDTH))


@pytest.mark.parametrize("form", FORMS)
def test_every_product_is_counted_once(form: str):
    for of, bits in ((network(form), 32), (quantized(form), 4)):
        linear = [product for product in count_products(of, 16, 16) if product.macs == 16 * 16 * WIDTH**2]
        assert [product.bits for product in linear] == [(bits, bits)]


@pytest.mark.parametrize("form", FORMS)
def test_it_is_trained(form: str):
    student = calibrated(form)
    student(IMAGES[0]).square().sum().backward()
    layer = dict(quantized_layers(student))[FORMS[form]]
    assert layer.weight is not None and layer.weight.grad is not None and bool(layer.weight.grad.abs().sum() > 0)
    for _, quantizer in named_quantizers(student):
        assert quantizer.lower.grad is not None


@pytest.mark.parametrize("form", FORMS)
def test_an_override_keeps_it(form: str):
    student = quantized(form, {f"{FORMS[form]}*": {"keep": True}})
    assert [name for name, _ in named_quantizers(student)] == ["first.weight", "last.weight"]
    assert not any(isinstance(module, FunctionalLinear) for module in student.modules())


@pytest.mark.parametrize("form", ["layer", "own"])
def test_a_compiled_network_gives_the_same_bits(form: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native, "usable", lambda *_: False)  # torch does not trace what our kernels do
    student = freeze(calibrated(form))
    compiled = torch.compile(student, backend="eager", fullgraph=True)
    assert torch.equal(output(compiled), output(student))


def test_a_layer_may_be_called_and_read():
    student = calibrated("both")
    layer = student.get_submodule("body.linear")
    x = torch.rand(5, WIDTH)
    assert isinstance(layer, FunctionalLinear)
    assert not torch.equal(layer(x), layer(x, None))
    assert torch.equal(layer(x), layer(x, layer.bias))


def test_a_frozen_weight_that_is_read_for_anything_else_spreads_nan():
    layer = freeze(calibrated("layer")).get_submodule("body.linear")
    assert layer.weight.shape == (WIDTH, WIDTH) and bool(layer.weight.isnan().all())
    assert layer.weight.untyped_storage().nbytes() == 4
    with pytest.raises(RuntimeError, match="a frozen layer has no full-precision weight"):
        layer.weight_matrix()


class Odd(nn.Module):
    """Weights that cannot be taken from the code that reads them, and an input that is not worth it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WIDTH, 1)
        self.normed, self.scaled, self.tied = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.twin = self.tied.weight
        self.pooled, self.places = (nn.Parameter(torch.rand(WIDTH, WIDTH)) for _ in range(2))
        self.called = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = x = self.first(x).movedim(1, -1)
        y = y + F.linear(x, self.normed.weight) / self.normed.weight.norm()
        y = y + F.linear(x, self.scaled.weight * 2)
        y = y + F.linear(x, self.twin)
        y = y + F.linear(x.mean((1, 2)), self.pooled)[:, None, None]
        y = y + F.linear(torch.ones(WIDTH), self.places)
        return self.called(y).movedim(-1, 1)


def test_what_cannot_be_taken_over_is_kept_and_told():
    plain = Odd()
    found = discover(plain, IMAGES)
    not_called = "not called: unused, or its weight is read by enclosing code"
    assert found.keep == {
        "normed": not_called,
        "scaled": not_called,
        "tied": not_called,
        "pooled_linear": "one vector per image (channel attention)",
        "places_linear": "its input is the same for every image, as in a position bias",
    }
    assert found.left_alone == ["Odd: a linear layer whose weight is computed"]
    expected = output(plain)
    student = convert(plain, NetworkSpec(overrides={"pooled_linear": {"bits": 8}}), found)
    layers = dict(quantized_layers(student))
    assert layers.keys() == {"first", "called", "pooled_linear"}
    assert layers["pooled_linear"].weight_quantizer.spec.bits == 8
    assert type(layers["called"]) is QuantLinear
    assert torch.equal(output(student), expected)
