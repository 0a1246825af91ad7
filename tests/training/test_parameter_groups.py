"""What is trained moves at the speed of its kind; the rest stays."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compsrt_plugin.config.blocks import DistillBlock
from compsrt_plugin.packed.network_state import round_unquantized
from compsrt_plugin.quant.passes.bias_correction import BiasCorrection
from compsrt_plugin.training.parameter_groups import ParameterGroups


def trained(student: nn.Module, ema: float = 0.0, **options: object) -> ParameterGroups:
    return ParameterGroups(student, DistillBlock.from_dict(options), ema)


def one_step(parameters: ParameterGroups, lr: float = 0.01) -> None:
    optimizer = torch.optim.Adam(parameters.groups(lr))
    for gradient in parameters.gradients:
        gradient.fill_(1)
    parameters.step(optimizer)


def test_weights_are_frozen_unless_asked_for(student: nn.Module):
    assert set(trained(student).kinds) == {"bounds", "decomposition"}
    assert not student.get_parameter("conv_first.weight").requires_grad
    assert set(trained(student, train_weights=True).kinds) == {"bounds", "decomposition", "weights"}
    assert student.get_parameter("conv_first.weight").requires_grad


def test_bounds_are_l_and_u_and_the_decomposition_is_alpha_and_beta(student: nn.Module):
    kinds = trained(student).kinds
    assert {name.rsplit(".", 1)[1] for name in kinds["bounds"]} == {"lower", "upper"}
    assert {name.rsplit(".", 1)[1] for name in kinds["decomposition"]} == {"alpha", "beta"}


def test_a_step_of_the_vectors_is_a_step_of_each_parameter(student: nn.Module, lq: torch.Tensor):
    alone = copy.deepcopy(student)
    optimizer = torch.optim.Adam([p for name, p in alone.named_parameters() if "_quantizer." in name], lr=1e-3)
    parameters = trained(student)
    together = torch.optim.Adam(parameters.groups(1e-3))
    for _ in range(2):
        parameters.zero_gradients()
        student(lq).square().mean().backward()
        parameters.step(together)
        optimizer.zero_grad()
        alone(lq).square().mean().backward()
        optimizer.step()
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(student.state_dict()[name], value)


def test_the_bias_is_corrected_for_what_rounding_does_to_the_mean(
    student: nn.Module, teacher: nn.Module, lq: torch.Tensor
):
    for network in (student, teacher):
        with torch.no_grad():
            network.get_parameter("norm.bias").fill_(3.003)  # which nine bits make 3
    correction = BiasCorrection(student, teacher, [lq])
    with ParameterGroups(student, DistillBlock(), correct_output=correction.apply).candidate_loaded():
        assert student.get_parameter("norm.bias")[0] == 3, "rounded"
        assert correction.apply() <= 2.0**-13, "nothing is left but what half precision cannot hold"


def test_each_kind_has_its_learning_rate(student: nn.Module):
    parameters = trained(student, train_weights=True, lr_weights=1e-4, lr_decomposition=1e-3)
    assert [group["lr"] for group in parameters.groups(0.01)] == [0.01, 1e-3, 1e-4]
    assert [group["lr"] for group in trained(student).groups(0.01)] == [0.01, 0.01]


def test_a_relative_rate_moves_a_bound_by_its_share_of_the_range(student: nn.Module):
    parameters = trained(student, relative_lr=True)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    one_step(parameters, lr=0.01)  # Adam's first step is its learning rate
    name = "layers.0.residual_group.blocks.0.mlp.fc1.input_quantizer"
    width = before[f"{name}.upper"] - before[f"{name}.lower"]
    for part in ("lower", "upper", "alpha"):
        moved = before[f"{name}.{part}"] - student.get_parameter(f"{name}.{part}")
        torch.testing.assert_close(moved, 0.01 * width, rtol=1e-3, atol=1e-7)


def test_gradients_are_clipped_by_value(student: nn.Module):
    parameters = trained(student, gradient_clip=0.5)
    for gradient in parameters.gradients:
        gradient.fill_(-3)
    parameters.clip_gradients()
    assert all((p.grad == -0.5).all() for kind in parameters.kinds.values() for p in kind.values())


def test_the_average_follows_and_is_what_would_be_kept(student: nn.Module):
    parameters = trained(student, ema=0.75)
    before = parameters.values()
    one_step(parameters)
    after, kept = parameters.values(), parameters.candidate()
    for name in before:
        torch.testing.assert_close(kept[name], 0.75 * before[name] + 0.25 * after[name])


@pytest.mark.parametrize("train_weights", [False, True])
def test_what_is_scored_is_the_rounded_average_and_leaves_no_trace(student: nn.Module, train_weights: bool):
    parameters = trained(student, ema=0.5, train_weights=train_weights)
    one_step(parameters)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    parameters.load(parameters.average)
    wanted = copy.deepcopy(student)
    round_unquantized(wanted)
    student.load_state_dict(before)
    with parameters.candidate_loaded():
        kept = wanted.state_dict()
        assert all(torch.equal(value, kept[name]) for name, value in student.state_dict().items())
        assert not torch.equal(kept["norm.weight"], before["norm.weight"]) or not train_weights
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
