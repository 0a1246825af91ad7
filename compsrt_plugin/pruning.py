"""Pruning hooks: which weights of a layer stay, chosen in the domain in which the weight is quantized.

A hook is a function (name, weight, ratio) -> mask, registered by name in BasicSR's own Registry class. A module
of yours adds one:

    from compsrt_plugin.pruning import PRUNING_REGISTRY

    @PRUNING_REGISTRY.register()
    def first_rows(name, weight, ratio):
        mask = torch.ones_like(weight, dtype=torch.bool)
        mask[: int(ratio * len(mask))] = False
        return mask

and `prune: {hook: first_rows, ratio: 0.4}` calls it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

import torch
from basicsr.utils.registry import Registry
from torch import Tensor, nn

from compsrt_plugin.compat import register_once
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.quant import QuantLinear, quantized_layers

PRUNING_REGISTRY = Registry("pruning")


@register_once(PRUNING_REGISTRY)
def magnitude(name: str, weight: Tensor, ratio: float) -> Tensor:
    """Keep the largest |w| of the tensor (CompSRT, section on pruning), the first of equals.

    Args:
        name: the layer's dotted name.
        weight: (rows, m) in the quantizer's domain.
        ratio: share to prune, 0 to below 1.

    Returns:
        Boolean (rows, m), True where a weight stays; exactly round(ratio * rows * m) are False.
    """
    mask = torch.ones(weight.numel(), dtype=torch.bool, device=weight.device)
    order = weight.abs().flatten().argsort(stable=True)
    mask[order[: round(ratio * weight.numel())]] = False
    return mask.view_as(weight)


def prune(network: nn.Module, hook: str, ratio: float, layers: Mapping[str, float] | None = None) -> dict[str, float]:
    """Give every quantized linear layer its mask, once; call before the bound search.

    Args:
        network: a converted network, not frozen.
        hook: name in `PRUNING_REGISTRY`.
        ratio: share of each layer's weights to prune.
        layers: name pattern -> its own ratio; of several that match, the last.

    Returns:
        Layer name -> share that was pruned.

    Raises:
        CompSRTError: for an unknown hook, or one whose mask is not boolean of the weight's shape.
    """
    if hook not in PRUNING_REGISTRY:
        raise unknown_name("pruning hook", hook, PRUNING_REGISTRY.keys())
    shares = {}
    with torch.no_grad():
        for name, layer in quantized_layers(network):
            if not isinstance(layer, QuantLinear):
                continue
            own = [r for pattern, r in (layers or {}).items() if fnmatch.fnmatchcase(name, pattern)]
            matrix = layer.weight_quantizer.transform(layer.weight_matrix())
            mask = PRUNING_REGISTRY.get(hook)(name, matrix, own[-1] if own else ratio)
            if not isinstance(mask, Tensor) or mask.dtype is not torch.bool or mask.shape != matrix.shape:
                found = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
                raise CompSRTError(
                    f"pruning hook {hook!r} gave {found} for {name}", allowed=f"torch.bool {tuple(matrix.shape)}"
                )
            layer.weight_mask = mask
            shares[name] = 1 - mask.float().mean().item()
    return shares
