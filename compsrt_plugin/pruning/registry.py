"""The registry of pruning hooks and their interface.

    (name, weight, ratio) -> mask
    (name, weight, ratio, statistics) -> mask      a hook that needs statistics of the layer inputs

`name` is the dotted name of the layer, `weight` the (rows, m) matrix in the domain of its quantizer, `ratio` the
fraction to prune, 0 to below 1. The mask is boolean (rows, m), False where a weight becomes zero. All further arguments
of a hook are its options, `prune: {options: {…}}` in an option file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from basicsr.utils.registry import Registry
from torch import Tensor

from compsrt_plugin.errors import CompSRTError, unknown_class, unknown_name
from compsrt_plugin.quant.passes.statistics import InputStatistics

Hook = Callable[..., Tensor]
CONTRACT = ("name", "weight", "ratio")
STATISTICS = "statistics"

PRUNING_REGISTRY = Registry("pruning")


def find_hook(name: str) -> Hook:
    """Return the hook registered as `name`.

    Raises:
        CompSRTError: there is none; the message suggests the nearest.
    """
    if name not in PRUNING_REGISTRY:
        raise unknown_class("pruning hook", name, PRUNING_REGISTRY.keys())
    return PRUNING_REGISTRY.get(name)


def wants_statistics(hook: Hook) -> bool:
    """Return whether a hook needs statistics of the layer inputs."""
    return STATISTICS in inspect.signature(hook).parameters


def check_hook_options(name: str, hook: Hook, options: Mapping[str, Any]) -> None:
    """Refuse options that the hook does not have.

    Raises:
        CompSRTError: an option is unknown; the message names it and suggests the nearest.
    """
    own = [p for p in list(inspect.signature(hook).parameters)[len(CONTRACT) :] if p != STATISTICS]
    for option in options:
        if option not in own:
            raise unknown_name(f"option of the pruning hook {name!r}", option, own or ["none"])


def call_hook(
    hook_name: str,
    layer: str,
    weight: Tensor,
    ratio: float,
    statistics: InputStatistics | None,
    options: Mapping[str, Any],
) -> Tensor:
    """Return the mask of a layer from a hook, checked.

    Raises:
        CompSRTError: the mask is not boolean or does not have the shape of the weight.
    """
    hook = find_hook(hook_name)
    known = {STATISTICS: statistics} if wants_statistics(hook) else {}
    mask = hook(layer, weight, ratio, **known, **options)
    if not isinstance(mask, Tensor) or mask.dtype is not torch.bool or mask.shape != weight.shape:
        found = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise CompSRTError(
            f"pruning hook {hook_name!r} returned {found} for {layer}", allowed=f"torch.bool {tuple(weight.shape)}"
        )
    return mask
