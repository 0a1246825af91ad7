"""The weights that stay take over what the pruned ones did, as well as they can.

A pruned layer computes x̃ (w̃ ∘ M) where the layer before computed x̃ w̃, x̃ = x T and w̃ = w T in the domain of the
quantizer. For every row w of the weight we take the w' with the smallest

    || X̃ ((w' T) ∘ M - w T) ||^2 + λ || w' - w ||^2

which is the closed form of what OBC (Frantar & Alistarh, arXiv 2208.11580) and SparseGPT (arXiv 2301.00774)
reach weight by weight; with a given mask and at these widths (60 to 128) it can be solved at once. λ is one per
cent of the mean squared input, as in SparseGPT: it keeps w' near w where the patches say nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.quant import QuantLinear
from compsrt_plugin.quant.passes.statistics import InputStatistics

DAMPING = 0.01


def compensate(layer: QuantLinear, mask: Tensor, statistics: InputStatistics) -> None:
    """Change a layer's full-precision weight in place so that its masked output is as it was.

    Args:
        layer: not frozen.
        mask: boolean (rows, m).
        statistics: of the layer's input.
    """
    weight = layer.weight_matrix()
    original = weight.detach().double()
    columns = original.shape[1]
    unit = torch.eye(columns, dtype=weight.dtype, device=weight.device)
    transform = layer.weight_quantizer.transform(unit).double()  # T, (d, m)
    gram = statistics.gram.to(weight.device)
    damping = DAMPING * gram.diagonal().mean() * unit.double()
    masked = transform * mask[:, None].double()  # per row what its w' becomes before the product, (rows, d, m)
    left = masked @ gram @ masked.mT + damping
    right = masked @ (original @ transform @ gram)[..., None] + damping @ original[..., None]
    solved = torch.linalg.solve(left, right).squeeze(-1)
    with torch.no_grad():
        weight.copy_(solved)
