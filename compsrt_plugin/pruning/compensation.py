"""Compensation: change the remaining weights of a pruned layer so that its output stays as close as possible.

A pruned layer computes x̃ (w̃ ∘ M) instead of x̃ w̃, with x̃ = x T and w̃ = w T in the domain of the quantizer. Each row
w of the weight is replaced by the w' that minimizes

    || X̃ ((w' T) ∘ M - w T) ||^2 + λ || w' - w ||^2

This is the closed form of the solution that OBC (Frantar & Alistarh, arXiv 2208.11580) and SparseGPT (arXiv 2301.00774)
reach weight by weight. With a given mask and at these widths (60 to 128) it can be solved directly. λ is one percent of
the mean squared input, as in SparseGPT; it keeps w' near w in directions without input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.quant import QuantLinear
from compsrt_plugin.quant.passes.statistics import InputStatistics

DAMPING = 0.01


def compensate(layer: QuantLinear, mask: Tensor, statistics: InputStatistics) -> None:
    """Change the full-precision weight of a layer in place to keep its output under a mask.

    Args:
        layer: not frozen.
        mask: boolean (rows, m).
        statistics: statistics of the input of the layer.
    """
    weight = layer.weight_matrix()
    original = weight.detach().double()
    columns = original.shape[1]
    unit = torch.eye(columns, dtype=weight.dtype, device=weight.device)
    transform = layer.weight_quantizer.transform(unit).double()  # T, (d, m)
    gram = statistics.gram.to(weight.device)
    damping = DAMPING * gram.diagonal().mean() * unit.double()
    masked = transform * mask[:, None].double()  # T ∘ M of each row, (rows, d, m)
    left = masked @ gram @ masked.mT + damping
    right = masked @ (original @ transform @ gram)[..., None] + damping @ original[..., None]
    solved = torch.linalg.solve(left, right).squeeze(-1)
    with torch.no_grad():
        weight.copy_(solved)
