"""Functions that run a network restore the modes of its modules and quantizers, after errors too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin.analysis.sensitivity import measure_errors
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import (
    Mode,
    NetworkSpec,
    QuantSpec,
    calibrate,
    convert,
    discover,
    distinct_codes,
    freeze,
    named_quantizers,
)
from compsrt_plugin.quant.passes.bias_correction import _mean_output, _order
from compsrt_plugin.quant.passes.equalization import equalize
from compsrt_plugin.quant.passes.statistics import gather_statistics
from compsrt_plugin.zoo.size import find_rule

X = torch.randn(64, 12, generator=torch.Generator().manual_seed(0))
BAD = torch.full((64, 12), float("nan"))
SPEC = NetworkSpec(QuantSpec(4), QuantSpec(4))


def plain() -> nn.Module:
    """Return a network in training of which one norm has frozen statistics."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(12, 12), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Sequential(nn.Linear(12, 12), nn.BatchNorm1d(12))
    ).train()
    network[1].eval()
    network[3].eval()
    network[3][0].train()
    return network


def student() -> nn.Module:
    network = convert(plain(), SPEC)
    calibrate(network, [X])
    return network


def state(network: nn.Module) -> Any:
    modes = [(quantizer.mode, quantizer.samples, quantizer.codes_seen) for _, quantizer in named_quantizers(network)]
    values = {name: value.clone() for name, value in network.state_dict().items()}
    return [module.training for module in network.modules()], modes, values


def failing() -> Any:
    yield X
    raise KeyboardInterrupt


ON_BATCHES: dict[str, Callable[[nn.Module, Any], Any]] = {
    "calibrate": calibrate,
    "distinct_codes": distinct_codes,
    "gather_statistics": gather_statistics,
    "equalize": lambda network, batches: equalize(network, batches, [X]),
    "bias correction": lambda network, batches: _mean_output(network, "0", batches),
    "order of layers": lambda network, batches: [_order(network, batch) for batch in batches],
    "sensitivity": lambda network, batches: [measure_errors(network, batch, "random") for batch in batches],
}


@pytest.mark.parametrize("what", ON_BATCHES)
def test_every_module_is_in_its_own_mode_again(what: str):
    network = student()
    before = state(network)
    ON_BATCHES[what](network, [X])
    assert state(network)[:2] == before[:2]
    if what != "equalize":  # whose work is to change weights
        torch.testing.assert_close(state(network)[2], before[2])  # no statistics of a norm have moved


@pytest.mark.parametrize("what", ON_BATCHES)
@pytest.mark.parametrize("error", ["NaN", "wrong shape", "interrupted"])
def test_after_an_error_a_network_is_as_it_was(what: str, error: str):
    network = student()
    before = state(network)
    batches = {"NaN": [X, BAD], "wrong shape": [X, X[:, :5]], "interrupted": failing()}[error]
    try:
        ON_BATCHES[what](network, batches)
    except (CompSRTError, RuntimeError, KeyboardInterrupt):
        pass
    else:
        assert error == "NaN", "only some look at the values"
    assert state(network)[:2] == before[:2]
    if (what, error) != ("equalize", "NaN"):
        torch.testing.assert_close(state(network)[2], before[2])


def test_a_weight_that_is_not_finite_leaves_earlier_bounds():
    network = student()
    with torch.no_grad():
        network[3][0].weight[0, 0] = float("nan")
    before = state(network)
    with pytest.raises(CompSRTError, match=r"calibration, 3\.0\.weight: .*NaN"):
        calibrate(network, [X * 2])
    assert state(network)[:2] == before[:2]
    torch.testing.assert_close(state(network)[2], before[2], equal_nan=True)


def test_a_quantizer_that_no_value_reaches_leaves_the_others_as_they_were():
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(12, 12), nn.Linear(12, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    network = convert(Half(), SPEC)
    before = state(network)
    with pytest.raises(CompSRTError, match=r"no value reached the quantizer 'unused\.input'"):
        calibrate(network, [X])
    assert {quantizer.mode for _, quantizer in named_quantizers(network)} == {Mode.OFF}
    torch.testing.assert_close(state(network)[2], before[2])


def test_what_cannot_be_calibrated_is_told_in_one_line():
    with pytest.raises(CompSRTError, match="Sequential has no quantizers; convert it first"):
        calibrate(plain(), [X])
    with pytest.raises(CompSRTError, match="the weight of 0 is frozen to codes"):
        calibrate(freeze(student()), [X])


def test_probing_leaves_every_module_in_its_own_mode():
    network = plain()
    before = state(network)
    discover(network, [X, X[:7]])
    assert state(network)[0] == before[0]

    class Enlarging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3).eval()

        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] == 1:
                raise RuntimeError("too small")
            return nn.functional.interpolate(self.norm(self.conv(x)), scale_factor=2.0)

    network = Enlarging()
    find_rule(network, 3)
    assert network.training and not network.norm.training
