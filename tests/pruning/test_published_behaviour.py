"""The pruning of the published code, restated in a few lines, compared with ours."""

from __future__ import annotations

import torch

from compsrt_plugin.pruning import prune
from compsrt_plugin.quant import calibrate, hadamard_matrix

from .networks import network, patches

RATIO, LEVELS = 0.4, 8
WEIGHT = network()[2].weight.detach()  # (60, 120)


def published(weight: torch.Tensor, ratio: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (w, what the published layer computes with): pads rows too, samples the threshold, quantizes zeros."""
    padded = torch.zeros(64, 128)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    domain = padded @ hadamard_matrix(128, weight.device, weight.dtype)
    sample = domain.flatten()[torch.randint(domain.numel(), (500,))].abs()  # another one at every forward pass
    kept = torch.where(domain.abs() >= sample.quantile(ratio), domain, 0.0)
    lower, upper = domain.min(), domain.max()
    scale = (upper - lower) / (LEVELS - 1)
    return kept, torch.round((kept - lower) / scale) * scale + lower


def test_published_results_change_from_run_to_run_and_ours_do_not():
    torch.manual_seed(0)
    assert not torch.equal(published(WEIGHT, RATIO)[0], published(WEIGHT, RATIO)[0])
    net = network()
    prune(net, "magnitude", RATIO)
    calibrate(net, patches())
    assert torch.equal(net(patches()[0]), net(patches()[0]))


def test_published_pruning_spends_its_ratio_on_padding_and_ours_on_weights():
    torch.manual_seed(0)
    real = published(WEIGHT, RATIO)[0][:60]
    assert (real == 0).float().mean() < RATIO - 0.02  # 4 of 64 rows are padding, counted first
    net = network()
    assert abs(prune(net, "magnitude", RATIO)["2"] - RATIO) < 1e-4


def test_published_zeros_are_quantized_away_from_zero_and_ours_are_zero():
    torch.manual_seed(0)
    kept, computed = published(WEIGHT, RATIO)
    assert (computed[kept == 0] != 0).all()
    net = network()
    prune(net, "magnitude", RATIO)
    calibrate(net, patches())
    assert not net[2].quantized_matrix()[~net[2].weight_mask].any()
