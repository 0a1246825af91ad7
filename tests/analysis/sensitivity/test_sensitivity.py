"""Each activation's share of the error is what the output moves by when it alone is quantized."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from compsrt_plugin.analysis.sensitivity import Sensitivity, estimate_errors, measure_errors
from compsrt_plugin.quant import Mode, NetworkSpec, QuantSpec, calibrate, convert, named_quantizers


def network(**bits: int) -> nn.Sequential:
    torch.manual_seed(0)
    spec = NetworkSpec(
        QuantSpec(8), QuantSpec(8), overrides={f"{name[1:]}.input": {"bits": n} for name, n in bits.items()}
    )
    net = nn.Sequential(nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 3))
    converted = convert(net, spec)
    calibrate(converted, [torch.randn(64, 16)])
    return converted.eval()


X = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))


def found_in(net: nn.Module, x: torch.Tensor = X) -> Sensitivity:
    return measure_errors(net, x, "random numbers")


def test_the_activation_with_fewest_bits_comes_first():
    found = found_in(network(_2=2)).activations
    assert (found[0].name, found[0].bits) == ("2.input", 2)
    assert [one.error for one in found] == sorted((one.error for one in found), reverse=True)
    assert sum(one.error for one in found[1:]) < found[0].error / 100


def test_an_error_is_that_of_the_network_with_one_quantizer_on():
    net = network(_0=3, _2=3, _4=3)
    found = found_in(net)
    activations = {name: q for name, q in named_quantizers(net) if name.endswith(".input")}
    assert {one.name for one in found.activations} == set(activations)

    def output(*on: str) -> torch.Tensor:
        for name, quantizer in activations.items():
            quantizer.mode = Mode.ON if name in on else Mode.OFF
        with torch.no_grad():
            return net(X).double()

    exact = output()
    for one in found.activations:
        assert one.error == pytest.approx(float((output(one.name) - exact).square().mean()), rel=1e-6)
    assert found.together == pytest.approx(float((output(*activations) - exact).square().mean()), rel=1e-6)


def test_more_bits_take_an_activations_error_away():
    before = {one.name: one.error for one in found_in(network(_0=3, _2=3, _4=3)).activations}
    after = {one.name: one.error for one in found_in(network(_0=3, _2=6, _4=3)).activations}
    assert after["2.input"] < before["2.input"] / 20
    assert after["0.input"] == before["0.input"]


@pytest.mark.parametrize("way", [measure_errors, estimate_errors])
def test_the_network_is_left_as_it_was(way: Callable[[nn.Module, torch.Tensor, str], Sensitivity]):
    net = network()
    next(q for _, q in named_quantizers(net)).mode = Mode.OFF
    net.train()
    modes = [q.mode for _, q in named_quantizers(net)]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        way(net, torch.randn(8, 5), "of the wrong width")
    way(net, X, "random numbers")
    assert [q.mode for _, q in named_quantizers(net)] == modes
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_estimate_is_near_what_is_measured():
    net = network(_0=4, _2=4, _4=4)
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(2))
    measured, estimated = measure_errors(net, x, "random numbers"), estimate_errors(net, x, "random numbers")
    errors = {one.name: one.error for one in measured.activations}
    assert {one.name: one.error for one in estimated.activations} == pytest.approx(errors, rel=0.25)
    assert estimated.together == measured.together
    assert (measured.exact, estimated.exact) == (True, False)
