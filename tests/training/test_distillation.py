"""The distillation loss is the published formula, and its parts are those of the whole batch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.config.blocks import DistillBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training.distillation import Distillation, first_not_finite
from compsrt_plugin.training.features import Features, feature_loss, feature_modules, unit_energy
from training import tiny_run


class TwoLayers(nn.Module):
    """Two 1x1 convolutions with the names of residual groups."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def pair(**options: object) -> Distillation:
    torch.manual_seed(0)
    block = DistillBlock.from_dict({"features": "layers.*", **options})
    return Distillation(TwoLayers(), TwoLayers().requires_grad_(False), block)


def test_the_loss_is_the_published_formula():
    torch.manual_seed(1)
    both, lq = pair(feature_weight=5), torch.rand(2, 3, 4, 4)
    got = both.backward(lq, None)
    student, teacher = both.student, both.teacher
    wanted_output = (student(lq) - teacher(lq)).abs().mean()
    wanted_feature = torch.zeros(())
    x, y = lq, lq
    for ours, theirs in zip(student.layers, teacher.layers):  # type: ignore[arg-type]
        x, y = ours(x), theirs(y)
        for image in range(2):
            difference = x[image] / x[image].norm() - y[image] / y[image].norm()
            wanted_feature = wanted_feature + 5 * (difference**2).mean() / 2
    torch.testing.assert_close(got["output"], wanted_output)
    torch.testing.assert_close(got["feature"], wanted_feature)
    assert set(got) == {"output", "feature"}


def test_the_norm_is_constant_to_the_gradient():
    feature = torch.rand(2, 5, 3, requires_grad=True)
    unit_energy(feature).sum().backward()
    wanted = (1 / feature.detach().flatten(1).norm(dim=1)).view(2, 1, 1).expand(2, 5, 3)
    torch.testing.assert_close(feature.grad, wanted)


def test_equal_features_cost_nothing_and_a_black_one_is_no_nan():
    features = [torch.rand(2, 5, 3), torch.zeros(2, 5, 3)]
    assert feature_loss(features, features) == 0


@pytest.mark.parametrize("parts", [2, 3, 5, 8])
def test_a_batch_run_in_parts_gives_the_gradient_of_the_whole(parts: int):
    torch.manual_seed(1)
    lq, gt = torch.rand(5, 3, 8, 8), torch.rand(5, 3, 8, 8)
    whole, split = pair(target_weight=0.5), pair(target_weight=0.5, accumulate=parts)
    terms, of_parts = whole.backward(lq, gt), split.backward(lq, gt)
    torch.testing.assert_close(of_parts, terms)
    for one, other in zip(whole.student.parameters(), split.student.parameters()):
        torch.testing.assert_close(other.grad, one.grad)


def test_the_term_of_the_original_is_weighted_l1():
    lq, gt = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    both = pair(target_weight=0.5, feature_weight=0)
    assert torch.allclose(both.terms(lq, gt)["target"], 0.5 * F.l1_loss(both.student(lq), gt))
    assert "feature" not in both.terms(lq, gt)


def test_the_teacher_gets_no_gradient():
    both = pair()
    both.backward(torch.rand(1, 3, 4, 4), None)
    assert all(p.grad is None for p in both.teacher.parameters())
    assert all(p.grad is not None for p in both.student.parameters())


def test_the_features_of_swinir_are_the_outputs_of_its_residual_groups():
    network = tiny_run.plain_teacher()
    features = Features(network, feature_modules(network, DistillBlock().features))
    with torch.no_grad():
        network(torch.rand(2, 3, 16, 16))
    assert features.names == ["layers.0.residual_group"]
    assert [tuple(f.shape) for f in features.take()] == [(2, 256, 60)]


def test_a_pattern_that_matches_nothing_is_told():
    with pytest.raises(CompSRTError, match=r"distill\.features 'layer\.\*' matches no module of TwoLayers"):
        pair(features="layer.*")


def test_the_first_layer_whose_output_is_not_finite_is_named():
    network = tiny_run.plain_teacher()
    assert first_not_finite(network, torch.rand(1, 3, 16, 16)) is None
    broken = copy.deepcopy(network)
    with torch.no_grad():
        broken.layers[0].residual_group.blocks[1].mlp.fc1.weight[0, 0] = float("nan")
    assert first_not_finite(broken, torch.rand(1, 3, 16, 16)) == "layers.0.residual_group.blocks.1.mlp.fc1"
    assert not any(module._forward_hooks for module in broken.modules())
