"""Condition numbers fall as far as the outputs on the data allow, and no further."""

from __future__ import annotations

import pytest
import torch

from compsrt_plugin.quant.passes.conditioning import _clamped, condition, condition_numbers


def problem(rows: int, columns: int, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights with widespread singular values, and inputs that hardly have some directions."""
    generator = torch.Generator().manual_seed(rows)
    weights = torch.randn(count, rows, columns, generator=generator)
    left, values, right = torch.linalg.svd(weights, full_matrices=False)
    weights = left @ torch.diag_embed(torch.logspace(0, -3, values.shape[1]).expand_as(values)) @ right
    inputs = torch.randn(count, 500, columns, generator=generator) * torch.logspace(0, -2, columns)
    return weights, inputs


@pytest.mark.parametrize(("rows", "columns"), [(12, 12), (24, 12), (12, 24)])
@pytest.mark.parametrize("tolerance", [0.005, 0.05])
def test_condition_numbers_fall_and_outputs_stay(rows: int, columns: int, tolerance: float) -> None:
    weights, inputs = problem(rows, columns)
    found = condition(weights, inputs.mT @ inputs, tolerance)
    assert torch.allclose(found.before, condition_numbers(weights))
    assert torch.allclose(found.after, condition_numbers(found.weight), rtol=1e-3)
    assert (found.after < 0.2 * found.before).all()
    outputs, wanted = inputs @ found.weight.mT, inputs @ weights.mT
    moved = torch.linalg.matrix_norm(outputs - wanted) / torch.linalg.matrix_norm(wanted)
    assert torch.allclose(moved.double(), found.change, atol=1e-4)
    assert (moved <= 1.001 * tolerance).all() and (moved > 0).all()


def test_a_wider_tolerance_reaches_lower() -> None:
    weights, inputs = problem(12, 12)
    narrow, wide = (condition(weights, inputs.mT @ inputs, tolerance).after for tolerance in (0.001, 0.1))
    assert (wide < narrow).all()


def test_what_cannot_improve_stays_as_it_is() -> None:
    inputs = torch.eye(6).repeat(1, 1, 1)
    perfect = torch.eye(6).unsqueeze(0)
    found = condition(perfect, inputs, 0.01)
    assert torch.equal(found.weight, perfect) and found.change.item() == 0


def test_a_singular_weight_becomes_regular_where_the_data_do_not_look() -> None:
    weight = torch.diag(torch.tensor([1.0, 1.0, 0.0])).unsqueeze(0)
    gram = torch.diag(torch.tensor([1.0, 1.0, 0.0])).unsqueeze(0)
    found = condition(weight, gram, 1e-3)
    assert found.before.isinf().all()
    assert found.after.item() < 1.1


def test_the_same_data_give_the_same_bits() -> None:
    weights, inputs = problem(12, 12)
    one, other = (condition(weights, inputs.mT @ inputs, 0.01).weight for _ in range(2))
    assert torch.equal(one, other)


def test_the_proximal_operator_finds_the_nearest_matrix() -> None:
    weights, _ = problem(12, 12)
    target = torch.tensor([1.0, 5.0, 50.0], dtype=torch.float64)
    nearest = _clamped(weights.double(), target)
    assert (condition_numbers(nearest) <= target * (1 + 1e-6)).all()
    left, values, right = torch.linalg.svd(weights.double())
    distance = torch.linalg.matrix_norm(nearest - weights)
    for lowest in torch.linspace(0.001, 1, 200, dtype=torch.float64):
        clamped = torch.minimum(values.clamp_min(lowest), target[:, None] * lowest)
        other = left @ torch.diag_embed(clamped) @ right
        assert (torch.linalg.matrix_norm(other - weights) >= distance - 1e-9).all()
