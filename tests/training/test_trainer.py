"""A step lowers the loss; a broken one stops with its layer named; a state holds all that comes after."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from compsrt_plugin.config.schema import DistillBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training.trainer import Training


def begin(student: nn.Module, teacher: nn.Module, **options: object) -> tuple[Training, torch.optim.Optimizer]:
    training = Training(student, teacher, DistillBlock.from_dict(options), ema_decay=0.9)
    return training, torch.optim.Adam(training.trained.groups(5e-3))


def test_steps_lower_the_loss(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    training, optimizer = begin(student, teacher, relative_lr=True)
    for group in optimizer.param_groups:
        group["lr"] = 3e-4
    losses = [training.step(optimizer, lq, None)["total"] for _ in range(6)]
    assert losses[-1] < 0.9 * losses[0]
    assert training.iteration == 6


def test_trained_codes_stay_within_their_bits(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    from compsrt_plugin.quant import distinct_codes, named_quantizers

    training, optimizer = begin(student, teacher)
    for _ in range(4):
        training.step(optimizer, lq, None)
    widths = {name: quantizer.spec.bits for name, quantizer in named_quantizers(student)}
    assert all(count <= 2 ** widths[name] for name, count in distinct_codes(student, [lq]).items())


def test_a_loss_that_is_not_finite_names_iteration_and_layer(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    training, optimizer = begin(student, teacher)
    training.step(optimizer, lq, None)
    with torch.no_grad():
        student.get_parameter("layers.0.residual_group.blocks.0.norm2.weight").fill_(float("nan"))
    before = training.trained.values()
    with pytest.raises(CompSRTError, match=r"iteration 2: the loss is nan; first .*: layers\.0\..*blocks\.0\.norm2;"):
        training.step(optimizer, lq, None)
    assert all(torch.equal(value, before[name]) for name, value in training.trained.values().items())


def test_a_loss_that_explodes_is_told(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    training, optimizer = begin(student, teacher)
    first = training.step(optimizer, lq, None)["total"]
    with torch.no_grad():
        student.get_parameter("upsample.0.bias").fill_(2000 * first)
    with pytest.raises(CompSRTError, match=r"iteration 2: the loss is .*, it began at .*lower train\.optim_g\.lr"):
        training.step(optimizer, lq, None)


def test_a_gradient_that_is_not_finite_is_named(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    training, optimizer = begin(student, teacher)
    alpha = student.get_parameter("layers.0.residual_group.blocks.1.attn.k_quantizer.alpha")
    alpha.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(
        CompSRTError, match=r"gradient of layers\.0\.residual_group\.blocks\.1\.attn\.k_quantizer\.alpha"
    ):
        training.step(optimizer, lq, None)


def test_a_state_holds_all_that_the_next_iterations_depend_on(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    training, optimizer = begin(student, teacher, relative_lr=True)
    training.step(optimizer, lq, None)
    training.offer(30.0)
    content = io.BytesIO()
    torch.save({**training.state(), "optimizer": optimizer.state_dict()}, content)
    training.step(optimizer, lq, None)
    wanted, chosen = training.trained.candidate(), training.choice.parameters

    content.seek(0)
    state = torch.load(content, weights_only=True)
    student.load_state_dict(state["network"])
    resumed, optimizer = begin(student, teacher, relative_lr=True)
    resumed.restore(state)
    optimizer.load_state_dict(state["optimizer"])
    resumed.step(optimizer, lq, None)
    assert all(torch.equal(value, wanted[name]) for name, value in resumed.trained.candidate().items())
    assert all(torch.equal(value, chosen[name]) for name, value in resumed.choice.parameters.items())
    assert resumed.losses == training.losses
