"""A pruned layer uses the compiled pass like any other, with the same values and gradients."""

import pytest
import torch
from torch import nn

from compsrt_plugin import native
from compsrt_plugin.ops import quantized_product
from compsrt_plugin.quant import Mode, QuantLinear, QuantSpec

pytestmark = pytest.mark.skipif(native.library() is None, reason="no compiler when the package was installed")


def outputs(monkeypatch, compiled: bool, whole_column: bool = False):
    """Output, gradients of input and weight, and how many products the compiled pass took."""
    taken = []
    product = quantized_product.quantized_product
    monkeypatch.setattr(quantized_product, "quantized_product", lambda *args: taken.append(1) or product(*args))
    if not compiled:
        monkeypatch.setattr(native, "usable", lambda *_: False)
    torch.manual_seed(0)
    layer = QuantLinear(nn.Linear(60, 24), QuantSpec(bits=4), QuantSpec(bits=4))
    layer.weight_mask = torch.rand(24, 64) < 0.6
    if whole_column:
        layer.weight_mask[:, 5] = False
    layer.weight_quantizer.set_bounds(torch.tensor(-0.3), torch.tensor(0.3))
    layer.input_quantizer.set_bounds(torch.tensor(-3.0), torch.tensor(3.0))
    layer.weight_quantizer.mode = layer.input_quantizer.mode = Mode.ON
    x = torch.randn(7, 60, requires_grad=True)
    y = layer(x)
    y.square().sum().backward()
    monkeypatch.undo()
    return y.detach(), x.grad, layer.weight.grad, len(taken)


def test_same_values_and_gradients(monkeypatch):
    *compiled, taken = outputs(monkeypatch, compiled=True)
    *wanted, none = outputs(monkeypatch, compiled=False)
    assert taken and not none
    for ours, theirs in zip(compiled, wanted):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_whole_columns_are_left_out_of_the_product_instead(monkeypatch):
    assert outputs(monkeypatch, compiled=True, whole_column=True)[-1] == 0
