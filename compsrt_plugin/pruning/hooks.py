"""The pruning hooks of the package. On a tie the first weight is pruned, so masks are reproducible."""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.pruning.registry import PRUNING_REGISTRY
from compsrt_plugin.quant.passes.statistics import InputStatistics
from compsrt_plugin.registries import register_once

AXES = {"rows": 0, "columns": 1}


@register_once(PRUNING_REGISTRY)
def magnitude(name: str, weight: Tensor, ratio: float) -> Tensor:
    """Return the mask that keeps the largest |w| of the tensor (CompSRT, arXiv 2601.21069, section on pruning).

    Args:
        name: the layer's dotted name.
        weight: (rows, m) in the quantizer's domain.
        ratio: fraction to prune, 0 to below 1.

    Returns:
        Boolean (rows, m), True where a weight stays; exactly round(ratio * rows * m) are False.
    """
    return keep_largest(weight.abs().flatten(), ratio).view_as(weight)


@register_once(PRUNING_REGISTRY)
def channel(name: str, weight: Tensor, ratio: float, axis: str = "columns") -> Tensor:
    """Return the mask that keeps the rows or columns with the largest mean |w| and prunes the others as a whole.

    A pruned column removes one coefficient of the transformed input, a pruned row one output. Both make the file and
    the matrix product smaller.

    Args:
        name, weight, ratio: as in `magnitude`; round(ratio * n) of the n rows or columns are pruned.
        axis: `rows` or `columns`.

    Raises:
        CompSRTError: the axis is unknown.
    """
    if axis not in AXES:
        raise unknown_name("axis of the pruning hook 'channel':", axis, AXES)
    kept = keep_largest(weight.abs().mean(dim=1 - AXES[axis]), ratio)
    return (kept[:, None] if axis == "rows" else kept).expand_as(weight).clone()


@register_once(PRUNING_REGISTRY)
def n_m(name: str, weight: Tensor, ratio: float, n: int = 2, m: int = 4) -> Tensor:
    """Return the mask that keeps the `n` largest |w| of every `m` neighbors in a row (n:m sparsity, arXiv 2102.04010).

    Args:
        name, weight: as in `magnitude`.
        ratio: 1 - n / m, or 0 for a layer that is not pruned.
        n: number of weights to keep, 1 to m - 1.
        m: size of a group; must divide the number of columns.

    Raises:
        CompSRTError: n, m, the ratio and the number of columns are inconsistent.
    """
    if not (isinstance(n, int) and isinstance(m, int) and 0 < n < m):
        raise CompSRTError(f"the pruning hook 'n_m' has n = {n!r}, m = {m!r}", allowed="integers, 0 < n < m")
    if weight.shape[1] % m:
        raise CompSRTError(
            f"groups of m = {m} do not fill the {weight.shape[1]} columns of {name}",
            hint=f"take an m that divides them, or leave the layer out: prune.layers: {{'{name}': 0}}",
        )
    if ratio == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    if abs(ratio - (1 - n / m)) > 1e-9:
        raise CompSRTError(
            f"prune.ratio is {ratio:g} for {name}, where {n}:{m} prunes {1 - n / m:g}",
            hint="leave prune.ratio out, or change n and m",
        )
    order = weight.abs().unflatten(1, (-1, m)).argsort(dim=-1, descending=True, stable=True)
    return torch.zeros_like(order, dtype=torch.bool).scatter_(-1, order[..., :n], True).view_as(weight)


@register_once(PRUNING_REGISTRY)
def wanda(name: str, weight: Tensor, ratio: float, statistics: InputStatistics, per: str = "tensor") -> Tensor:
    """Return the mask that keeps the largest |w_ij| * ||x_j|| (Wanda, Sun et al., arXiv 2306.11695).

    ||x_j|| is the norm of input coefficient j over the calibration patches, in the domain of the product.

    Args:
        name, weight, ratio: as in `magnitude`; the total is exact.
        statistics: statistics of the input of the layer.
        per: `tensor` compares all weights of the layer. `row` compares the weights of one row, as published, so each
            row loses the same fraction. On SwinIR `tensor` is better (`docs/notes/pruning.md`).

    Raises:
        CompSRTError: `per` is unknown.
    """
    if per not in ("tensor", "row"):
        raise unknown_name("per of the pruning hook 'wanda':", per, ("tensor", "row"))
    scores = weight.abs() * statistics.norms.to(weight)
    if per == "row":  # ranks within a row are comparable between rows
        scores = scores.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return keep_largest(scores.flatten(), ratio).view_as(weight)


def keep_largest(scores: Tensor, ratio: float) -> Tensor:
    """Return a boolean (n,) for scores (n,): the round(ratio * n) smallest are False, the first ones on a tie."""
    mask = torch.ones_like(scores, dtype=torch.bool)
    mask[scores.argsort(stable=True)[: round(ratio * len(scores))]] = False
    return mask
