"""Conditioning: lower the condition number of weights while their outputs on calibration data stay.

This is the first step of the recipe `condiquant`, our reading of CondiQuant (arXiv 2502.15478; its code is not public).
The condition number of its weight bounds the sensitivity of a layer to errors. For a weight W (rows, columns) with
inputs X (count, columns), find

    W' with the smallest kappa(W') = sigma_max / sigma_min    such that    ||X W'^T - X W^T||_F <= tolerance ||X W^T||_F

by proximal gradient descent. For a target t the smooth part is f(W') = tr((W' - W) G (W' - W)^T) / 2, G = X^T X. The
other part is the indicator of {kappa <= t}. Its proximal operator keeps the singular vectors and clamps the singular
values to [a, t a], with the a that changes them least (Lu & Pong, SIAM J. Matrix Anal. Appl. 2011):

    W' <- prox_t(W' - (W' - W) G / lambda_max(G))

t falls step by step while the outputs stay within the tolerance. Directions with little input energy are free to
change, and these often have small singular values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from compsrt_plugin.config.values import PositiveShare
from compsrt_plugin.quant.network import quantized_layers
from compsrt_plugin.quant.passes.registry import Calibration, Pass, Stage, register_pass
from compsrt_plugin.quant.passes.statistics import gather_statistics

SHRINK = 0.8  # factor of the target condition number from one round to the next
STEPS = 12  # proximal gradient steps per round
ROUNDS = 60
WORST = 1e4  # first target for a weight with a larger condition number, or a singular one
HALVINGS = 40  # of the interval of a, down to 1e-12 of the largest singular value


@dataclass(frozen=True)
class Conditioned:
    """The result of `condition` for n weights of one shape.

    Attributes:
        weight: (n, rows, columns), in the dtype of the input.
        before, after: (n,) condition numbers, float64.
        change: (n,) ||X W'^T - X W^T||_F / ||X W^T||_F, float64.
    """

    weight: Tensor
    before: Tensor
    after: Tensor
    change: Tensor


def condition_numbers(weights: Tensor) -> Tensor:
    """Return sigma_max / sigma_min of each matrix in (n, rows, columns); infinity for a singular one."""
    values = torch.linalg.svdvals(weights.double())
    return values[..., 0] / values[..., -1]


def condition(weights: Tensor, grams: Tensor, tolerance: float) -> Conditioned:
    """Return weights of one shape with condition numbers as low as their outputs allow.

    Args:
        weights: (n, rows, columns).
        grams: (n, columns, columns), X^T X of the inputs of each weight, up to a factor.
        tolerance: largest change of the outputs, as a fraction of their norm.

    Returns:
        The new weights; a weight that cannot improve within the tolerance is unchanged.
    """
    original, gram = weights.double(), grams.double()
    gram = gram / torch.linalg.eigvalsh(gram)[:, -1:, None].clamp_min(torch.finfo(gram.dtype).tiny)
    energy = _energy(original, gram).clamp_min(torch.finfo(gram.dtype).tiny)
    before = condition_numbers(original)
    target = before.clamp_max(WORST)
    kept, change = original.clone(), torch.zeros_like(before)
    current = original.clone()
    active = torch.ones_like(before, dtype=torch.bool)
    for _ in range(ROUNDS):
        target = torch.where(active, (target * SHRINK).clamp_min(1.0), target)
        for _ in range(STEPS):
            current[active] = _clamped(
                current[active] - (current[active] - original[active]) @ gram[active], target[active]
            )
        moved = (_energy(current - original, gram) / energy).sqrt()
        active &= moved <= tolerance
        kept[active], change[active] = current[active], moved[active]
        active &= target > 1
        if not active.any():
            break
    return Conditioned(kept.to(weights.dtype), before, condition_numbers(kept), change)


def _energy(weights: Tensor, gram: Tensor) -> Tensor:
    """Return tr(W G W^T) of each matrix, (n,)."""
    return ((weights @ gram) * weights).sum((-2, -1)).clamp_min(0)


def _clamped(weights: Tensor, target: Tensor) -> Tensor:
    """Return the nearest matrices in the Frobenius norm with a condition number of at most `target` (n,)."""
    left, values, right = torch.linalg.svd(weights, full_matrices=False)
    target = target[:, None]
    low, high = torch.zeros_like(target), values[:, :1].clone()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        # Derivative of sum (clamp(sigma, a, t a) - sigma)^2 / 2 with respect to a; it increases with a.
        raised, lowered = (middle - values).clamp_min(0), (values - target * middle).clamp_min(0)
        slope = raised.sum(1, keepdim=True) - target * lowered.sum(1, keepdim=True)
        low, high = torch.where(slope < 0, middle, low), torch.where(slope < 0, high, middle)
    bounded = torch.minimum(torch.maximum(values, high), target * high)
    return (left * bounded[:, None, :]) @ right


def condition_weights(calibration: Calibration, tolerance: float) -> None:
    """Lower the condition numbers of all quantized linear weights.

    Args:
        calibration: quantizers off.
        tolerance: largest change of each layer's outputs on the patches, as a share of their norm.
    """
    statistics = gather_statistics(calibration.network, calibration.patches("conditioning"))
    layers = {name: layer for name, layer in quantized_layers(calibration.network) if name in statistics}
    shapes: dict[torch.Size, list[str]] = {}
    for name, layer in layers.items():
        shapes.setdefault(layer.weight_matrix().shape, []).append(name)
    found = []
    for (_, columns), names in shapes.items():
        weights = torch.stack([layers[name].weight_matrix().detach() for name in names])
        # The statistics are of the transformed inputs X T. T is orthonormal: X^T X = T (X T)^T (X T) T^T.
        unit = torch.eye(columns, dtype=weights.dtype, device=weights.device)
        bases = [layers[name].weight_quantizer.transform(unit).double() for name in names]
        grams = [basis @ statistics[name].gram.to(basis) @ basis.T for name, basis in zip(names, bases)]
        found.append(condition(weights, torch.stack(grams), tolerance))
        with torch.no_grad():
            for name, weight in zip(names, found[-1].weight):
                layers[name].weight_matrix().copy_(weight)
    before, after, change = (torch.cat([getattr(c, key) for c in found]) for key in ("before", "after", "change"))
    calibration.log(
        f"Weights changed: condition numbers of {len(layers)} linear weights lowered, median {before.median():.1f} to "
        f"{after.median():.1f}; outputs on calibration patches moved by at most {change.max():.2%}"
    )


register_pass(
    Pass(
        "conditioning",
        "lower the condition numbers of linear weights before bounds are searched, while each layer's outputs on the "
        "calibration patches change by at most this share of their norm; null leaves the weights.",
        kind=PositiveShare | None,
        off=None,
        stage=Stage.WEIGHTS,
        run=condition_weights,
        changes_weights=True,
    )
)
