"""A step lowers the loss; a broken one stops with its layer named; a state holds all that comes after."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from compsrt_plugin.config.blocks import DistillBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training.trainer import Trainer


def begin(student: nn.Module, teacher: nn.Module, **options: object) -> tuple[Trainer, torch.optim.Optimizer]:
    trainer = Trainer(student, teacher, DistillBlock.from_dict(options), ema_decay=0.9)
    return trainer, torch.optim.Adam(trainer.parameters.groups(5e-3))


def test_steps_lower_the_loss(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    trainer, optimizer = begin(student, teacher, relative_lr=True)
    for group in optimizer.param_groups:
        group["lr"] = 3e-4
    losses = [trainer.step(optimizer, lq, None)["total"] for _ in range(6)]
    assert losses[-1] < 0.9 * losses[0]
    assert trainer.iteration == 6


def test_trained_codes_stay_within_their_bits(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    from compsrt_plugin.quant import distinct_codes, named_quantizers

    trainer, optimizer = begin(student, teacher)
    for _ in range(4):
        trainer.step(optimizer, lq, None)
    widths = {name: quantizer.spec.bits for name, quantizer in named_quantizers(student)}
    assert all(count <= 2 ** widths[name] for name, count in distinct_codes(student, [lq]).items())


def test_a_loss_that_is_not_finite_names_iteration_and_layer(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    trainer, optimizer = begin(student, teacher)
    trainer.step(optimizer, lq, None)
    with torch.no_grad():
        student.get_parameter("layers.0.residual_group.blocks.0.norm2.weight").fill_(float("nan"))
    before = trainer.parameters.values()
    with pytest.raises(CompSRTError, match=r"iteration 2: the loss is nan; first .*: layers\.0\..*blocks\.0\.norm2;"):
        trainer.step(optimizer, lq, None)
    assert all(torch.equal(value, before[name]) for name, value in trainer.parameters.values().items())


def test_a_loss_that_explodes_is_told(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    trainer, optimizer = begin(student, teacher)
    first = trainer.step(optimizer, lq, None)["total"]
    with torch.no_grad():
        student.get_parameter("upsample.0.bias").fill_(2000 * first)
    with pytest.raises(CompSRTError, match=r"iteration 2: the loss is .*, it began at .*lower train\.optim_g\.lr"):
        trainer.step(optimizer, lq, None)


def test_a_gradient_that_is_not_finite_is_named(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    trainer, optimizer = begin(student, teacher)
    alpha = student.get_parameter("layers.0.residual_group.blocks.1.attn.k_quantizer.alpha")
    alpha.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(
        CompSRTError, match=r"gradient of layers\.0\.residual_group\.blocks\.1\.attn\.k_quantizer\.alpha"
    ):
        trainer.step(optimizer, lq, None)


def test_a_state_holds_all_that_the_next_iterations_depend_on(student: nn.Module, teacher: nn.Module, lq: torch.Tensor):
    trainer, optimizer = begin(student, teacher, relative_lr=True)
    trainer.step(optimizer, lq, None)
    trainer.offer(30.0)
    content = io.BytesIO()
    torch.save({**trainer.state(), "optimizer": optimizer.state_dict()}, content)
    trainer.step(optimizer, lq, None)
    wanted, chosen = trainer.parameters.candidate(), trainer.selection.parameters

    content.seek(0)
    state = torch.load(content, weights_only=True)
    student.load_state_dict(state["network"])
    resumed, optimizer = begin(student, teacher, relative_lr=True)
    resumed.restore(state)
    optimizer.load_state_dict(state["optimizer"])
    resumed.step(optimizer, lq, None)
    assert all(torch.equal(value, wanted[name]) for name, value in resumed.parameters.candidate().items())
    assert all(torch.equal(value, chosen[name]) for name, value in resumed.selection.parameters.items())
    assert resumed.losses == trainer.losses
