"""`prune`: set the mask of each quantized linear layer, before the bound search."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.pruning.compensation import compensate as compensate_layer
from compsrt_plugin.pruning.hooks import keep_largest
from compsrt_plugin.pruning.registry import call_hook, check_hook_options, find_hook, wants_statistics
from compsrt_plugin.quant import QuantLinear, quantized_layers
from compsrt_plugin.quant.passes.statistics import gather_statistics

SCOPES = ("tensor", "global")


def prune(
    network: nn.Module,
    hook: str,
    ratio: float | None,
    layers: Mapping[str, float] | None = None,
    *,
    scope: str = "tensor",
    options: Mapping[str, Any] | None = None,
    compensate: bool = False,
    batches: Iterable[Tensor] = (),
) -> dict[str, float]:
    """Set the mask of each quantized linear layer; call before the bound search.

    The same network, ratio and batches give the same masks on every run. Convolutions are not pruned.

    Args:
        network: a converted network, not frozen.
        hook: name in `PRUNING_REGISTRY`.
        ratio: fraction of the weights to prune, counted in the domain (a row of 60 weights has 64 coefficients); None
            for `n_m`, where n and m determine it.
        layers: name pattern -> ratio of the matching layers; the last match wins.
        scope: `tensor` prunes the fraction `ratio` of each layer. `global` prunes that fraction of all weights
            together, so each layer loses the weights that it has among the smallest |w|. Layers that match `layers`
            have their own ratio.
        options: options of the hook by name.
        compensate: whether the remaining weights compensate for the pruned ones, see `compensation`.
        batches: calibration inputs, run once if the hook or `compensate` needs statistics of the layer inputs.

    Returns:
        Layer name -> pruned fraction.

    Raises:
        CompSRTError: unknown hook, option or scope, a pattern without a match, a missing ratio, or a mask that is not
            boolean or does not have the shape of the weight.
    """
    function, options = find_hook(hook), dict(options or {})
    check_hook_options(hook, function, options)
    if scope not in SCOPES:
        raise unknown_name("prune.scope", scope, SCOPES)
    if ratio is None:
        ratio = _ratio_of(hook, options)
    found = {name: layer for name, layer in quantized_layers(network) if isinstance(layer, QuantLinear)}
    if not found:
        raise CompSRTError(f"{type(network).__name__} has no quantized linear layer to prune")
    statistics = gather_statistics(network, batches) if compensate or wants_statistics(function) else {}
    with torch.no_grad():
        matrices = {name: layer.weight_quantizer.transform(layer.weight_matrix()) for name, layer in found.items()}
        own = _own_ratios(matrices, layers or {})
        free = {name: matrix for name, matrix in matrices.items() if name not in own}
        shares = _global_ratios(free, ratio) if scope == "global" else dict.fromkeys(free, ratio)
        shares.update(own)
        pruned = {}
        for name, layer in found.items():
            mask = call_hook(hook, name, matrices[name], shares[name], statistics.get(name), options)
            if compensate:
                compensate_layer(layer, mask, statistics[name])
            layer.weight_mask = mask
            pruned[name] = 1 - mask.double().mean().item()
    return pruned


def _ratio_of(hook: str, options: Mapping[str, Any]) -> float:
    if hook != "n_m":
        raise CompSRTError("prune.ratio is missing", allowed="numbers from 0 to below 1", hint="set prune.ratio: 0.4")
    n, m = options.get("n", 2), options.get("m", 4)
    return 1 - n / m if isinstance(n, int) and isinstance(m, int) and m > 0 else 0.0  # the hook refuses the rest


def _own_ratios(matrices: Mapping[str, Tensor], layers: Mapping[str, float]) -> dict[str, float]:
    own: dict[str, float] = {}
    for pattern, ratio in layers.items():
        matching = [name for name in matrices if fnmatch.fnmatchcase(name, pattern)]
        if not matching:
            raise CompSRTError(f"prune.layers names {pattern!r}, which matches no linear layer")
        own.update(dict.fromkeys(matching, ratio))
    return own


def _global_ratios(matrices: Mapping[str, Tensor], ratio: float) -> dict[str, float]:
    """Return the fraction of each layer among the round(ratio * all) smallest |w|, exact after rounding per layer."""
    if not matrices:
        return {}
    kept = keep_largest(torch.cat([matrix.abs().flatten() for matrix in matrices.values()]), ratio)
    pieces = kept.split([matrix.numel() for matrix in matrices.values()])
    return {name: (~piece).sum().item() / len(piece) for name, piece in zip(matrices, pieces)}
