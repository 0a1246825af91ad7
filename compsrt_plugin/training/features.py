"""Which modules of a network are its residual groups, whose outputs distillation compares."""

from __future__ import annotations

import fnmatch

from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import Quantizer

RESIDUAL_GROUPS = "layers.*.residual_group"  # SwinIR's, and what has been made of SwinIR since


def feature_modules(network: nn.Module, pattern: str | None) -> list[str]:
    """Return the dotted names of the modules to compare, in module order.

    Args:
        network: student or teacher: both have the same groups.
        pattern: of their names, shell style. None: `layers.*.residual_group`, or without such modules the series
            that `repeated_modules` finds, which may be none.

    Raises:
        CompSRTError: no module matches the pattern.
    """
    names = [name for name, _ in network.named_modules() if fnmatch.fnmatchcase(name, pattern or RESIDUAL_GROUPS)]
    if pattern and not names:
        raise CompSRTError(
            f"distill.features {pattern!r} matches no module of {type(network).__name__}",
            hint="give a pattern of its module names, or distill.feature_weight: 0",
        )
    return names or repeated_modules(network)


def repeated_modules(network: nn.Module) -> list[str]:
    """Return the members of the outermost list of modules of one class, of several the one with most parameters.

    Members are taken that have modules of their own: a list of plain layers is no series of groups.
    """
    best: tuple[int, int] | None = None
    found: list[str] = []
    for name, module in network.named_modules():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)):
            continue
        members = list(module.named_children())
        alike = len({type(part).__name__ for _, part in members}) == 1
        if len(members) < 2 or not alike or not all(_is_group(part) for _, part in members):
            continue
        depth = name.count(".") + 1 if name else 0
        rank = (-depth, sum(p.numel() for p in module.parameters()))
        if best is None or rank > best:
            best, found = rank, [f"{name}.{child}".lstrip(".") for child, _ in members]
    return found


def _is_group(module: nn.Module) -> bool:
    """Whether a module is made of others, quantizers aside."""
    return any(not isinstance(child, Quantizer) for child in module.children())
