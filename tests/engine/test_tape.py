"""What a tape records, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.engine.steps import with_spots
from compsrt_plugin.engine.tape import NotRecordable, Tape, record

X = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
Code = Callable[[nn.Module, Tensor], Tensor]


class Coded(nn.Module):
    """A network of one function."""

    def __init__(self, code: Code) -> None:
        super().__init__()
        self.code = code
        self.weight = nn.Parameter(torch.rand(3, 1, 1))
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self, x)


def recorded(code: Code) -> Tape:
    with torch.inference_mode():
        return record(Coded(code), X)


def replayed(tape: Tape, x: Tensor) -> Tensor:
    """Compute a tape in torch, step by step."""
    assert tape.input is not None and tape.output is not None
    memory = {tape.input.buffer: x}

    def tensor(spot: object) -> Tensor:
        return torch.as_strided(memory[spot.buffer], spot.shape, spot.stride, spot.offset)  # pyright: ignore

    for step in tape.steps:
        found = step.function(*with_spots(step.args, tensor), **with_spots(step.kwargs, tensor))
        for spot, made in zip(step.outputs, (found,) if step.single else found):
            if spot is not None:
                memory[spot.buffer] = torch.empty_strided(spot.shape, spot.stride, dtype=made.dtype).copy_(made)
    return tensor(tape.output)


def in_place(module: nn.Module, x: Tensor) -> Tensor:
    y = x * 2
    view = y[:, 1:]
    y += 1
    F.relu(y, inplace=True)
    return view * y[:, :2]


def views(module: nn.Module, x: Tensor) -> Tensor:
    a, b = x.permute(0, 2, 3, 1).reshape(2, 20, 3).split([1, 2], -1)
    return torch.cat([a, b.contiguous().flip(1)], -1).transpose(1, 2).unflatten(2, (4, 5))


def several_outputs(module: nn.Module, x: Tensor) -> Tensor:
    values, places = x.topk(2, dim=1)
    return x.gather(1, places) + values


def parts_written(module: nn.Module, x: Tensor) -> Tensor:
    y = x * 1
    part = y[:, :1]
    part += 1
    y[..., 1:3] = x[..., :2] * 3
    y.select(0, 1).fill_(0.5)
    return y + part


def permutation_inverted(module: nn.Module, x: Tensor) -> Tensor:
    order = x.flatten(1).argsort(-1)
    inverse, places = torch.zeros_like(order), torch.arange(order.shape[1])
    for row in range(order.shape[0]):
        inverse[row, order[row, :]] = places
    return x.flatten(1).gather(1, order).gather(1, inverse).view(x.shape) - 1


def nothing_added(module: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([x, x[:, 3:].flip(1)], 1) * 2


@pytest.mark.parametrize("code", [in_place, views, several_outputs, parts_written, permutation_inverted, nothing_added])
def test_a_tape_computes_what_the_code_does(code: Code) -> None:
    x = torch.rand(X.shape)
    assert torch.equal(replayed(recorded(code), x), code(Coded(code), x.clone()))


def test_what_depends_on_parameters_alone_is_computed_once() -> None:
    tape = recorded(lambda module, x: x * (module.weight.exp() + torch.arange(5)))
    assert [str(step.function) for step in tape.steps] == ["aten.mul.Tensor"]


def test_sizes_and_types_of_the_image_are_known() -> None:
    tape = recorded(lambda module, x: x + torch.ones(4, 5).type_as(x) + torch.zeros_like(x) + x.new_ones(x.shape[-1]))
    assert len(tape.steps) == 3


def changed_constant(module: nn.Module, x: Tensor) -> Tensor:
    table = torch.ones(5)
    y = x + table
    table.zero_()
    return y


def constant_written(module: nn.Module, x: Tensor) -> Tensor:
    y = torch.zeros(2, 3, 4, 5)
    y[:] = x
    return y


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (lambda module, x: x * 2 if x.sum() > 0 else x, "depends on values"),
        (lambda module, x: x * float(x.mean()), "depends on values"),
        (changed_constant, "changes a tensor that it has used"),
        (constant_written, "in place"),
        (lambda module, x: torch.ones(3), "no tensor that depends on the image"),
        (lambda module, x: x[x > 0.5], "shape"),
    ],
)
def test_what_cannot_be_recorded_is_refused(code: Code, why: str) -> None:
    with pytest.raises(NotRecordable, match=why):
        recorded(code)


def test_a_tensor_kept_by_the_code_is_put_back() -> None:
    def code(module: nn.Module, x: Tensor) -> Tensor:
        module.kept = x * 2
        return module.kept

    network = Coded(code)
    with torch.inference_mode():
        record(network, X)
    assert network.kept is None
