"""Computed weights are folded into parameters; a layer with unknown code stays as it is, with a warning."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from compsrt_plugin.quant import NetworkSpec, QuantLinear, QuantSpec, calibrate, convert, discover, named_quantizers
from compsrt_plugin.quant.computed_weights import fold_computed

X = torch.randn(64, 12, generator=torch.Generator().manual_seed(0))
SPEC = NetworkSpec(QuantSpec(4), QuantSpec(4))


def frozen(layer: nn.Module) -> nn.Module:
    """Return a layer whose weight is a buffer."""
    weight = layer.weight
    del layer.weight
    layer.register_buffer("weight", weight.detach())
    return layer


def both(layer: nn.Module) -> nn.Module:
    """Return a layer with masks on what its normalized weight is made from, and on its bias."""
    prune.random_unstructured(weight_norm(layer), "weight_v", 0.5)
    return prune.random_unstructured(layer, "bias", 0.5)


FORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "prune twice": lambda layer: prune.random_unstructured(prune.l1_unstructured(layer, "weight", 0.3), "weight", 0.3),
    "prune the normalized": both,
    "parametrized weight_norm": parametrizations.weight_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "buffer": frozen,
}
forms = pytest.mark.parametrize("form", FORMS)
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")


def network(form: str) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(FORMS[form](nn.Linear(12, 12)), nn.GELU(), nn.Linear(12, 12)).eval()


@forms
def test_a_computed_weight_becomes_a_parameter_and_nothing_changes(form: str):
    expected = network(form)(X)
    student = convert(network(form), SPEC)
    assert isinstance(student[0], QuantLinear) and isinstance(student[0].weight, nn.Parameter)
    assert [name for name in student.state_dict() if name.startswith("0.") and "quantizer" not in name] == [
        "0.weight",
        "0.bias",
    ]
    assert torch.equal(student(X), expected)
    assert len(list(copy.deepcopy(student).parameters())) == len(list(student.parameters()))


@forms
def test_it_is_found_by_probing_too(form: str):
    plain = network(form)
    student = convert(plain, SPEC, discover(plain, [X[None], X[None, :5]]))
    assert {name for name, _ in named_quantizers(student)} == {"0.weight", "0.input", "2.weight", "2.input"}


@forms
def test_a_state_brings_all_of_a_computed_weight_to_another_network(form: str):
    student, other = convert(network(form), SPEC), convert(network(form), SPEC)
    calibrate(student, [X])
    with torch.no_grad():
        other[0].weight.zero_()
        other[0].bias.zero_()
    other.load_state_dict(student.state_dict())
    assert torch.equal(other(X), student(X))


def test_values_loaded_after_the_hook_ran_last_are_those_that_are_folded():
    source, plain = network("weight_norm"), network("weight_norm")
    with torch.no_grad():
        source[0].weight_v.mul_(torch.rand(12, 12))
    plain.load_state_dict(source.state_dict())
    assert torch.equal(convert(plain, SPEC)(X), source(X))


def test_folding_estimates_no_norm_anew_in_training_mode():
    plain = network("parametrized spectral_norm")
    expected = plain(X)
    fold_computed(plain.train())
    assert plain.training and torch.equal(plain(X), expected)


def test_a_weight_that_something_unknown_computes_stays_and_is_told_of():
    plain = nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 12))
    raw = plain[0].weight
    del plain[0].weight
    plain[0].register_parameter("raw", raw)

    def equalized(layer: nn.Module, _: tuple[Tensor, ...]) -> None:
        layer.weight = layer.raw * 0.5

    plain[0].register_forward_pre_hook(equalized)
    expected = plain(X)
    with pytest.warns(UserWarning, match="0 stays in full precision: its own code computes the weight of this Lin"):
        student = convert(plain, SPEC)
    assert type(student[0]) is nn.Linear and isinstance(student[1], QuantLinear)
    assert torch.equal(student(X), expected)
    assert "0.raw" in student.state_dict()


def test_ordinary_layers_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(nn.Sequential(nn.Linear(12, 12, bias=False)), SPEC)
