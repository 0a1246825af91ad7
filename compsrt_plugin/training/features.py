"""Features that distillation compares: which modules produce them, how they are recorded, and their loss."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import Quantizer

TINY = 1e-12  # avoids division by zero for an all-zero feature
RESIDUAL_GROUPS = "layers.*.residual_group"  # in SwinIR and networks derived from it


def feature_modules(network: nn.Module, pattern: str | None) -> list[str]:
    """Return the dotted names of the modules to compare, in module order.

    Args:
        network: student or teacher; both have the same modules.
        pattern: shell-style pattern of module names. None: `layers.*.residual_group`; if there are none, the modules
            that `repeated_modules` finds, possibly none.

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
    """Return the names of the members of the outermost module list whose members are of one class.

    Of several such lists, the one with most parameters counts. Every member must contain modules, so that a list of
    plain layers does not count.
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
    """Return whether a module contains modules other than quantizers."""
    return any(not isinstance(child, Quantizer) for child in module.children())


class Features:
    """Record the outputs of some modules of a network by forward hooks.

    Args:
        network: the network.
        names: dotted names of the modules, in module order.

    Attributes:
        outputs: outputs of the last forward pass, in the same order; of a tuple, its first element.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        self.names = names
        self.outputs: list[Tensor] = []
        for name in self.names:
            network.get_submodule(name).register_forward_hook(self._catch)

    def _catch(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if len(self.outputs) == len(self.names):
            self.outputs = []  # a new forward pass begins
        self.outputs.append(output[0] if isinstance(output, (tuple, list)) else output)

    def take(self) -> list[Tensor]:
        """Return the outputs of the last forward pass and release them."""
        outputs, self.outputs = self.outputs, []
        return outputs


def unit_energy(feature: Tensor) -> Tensor:
    """Return F / ||F||; the norm is over all axes but the first (the image) and has no gradient.

    Args:
        feature: (b, tokens, channels), or (b, channels, h, w).
    """
    norm = torch.linalg.vector_norm(feature.detach(), dim=tuple(range(1, feature.dim())), keepdim=True)
    return feature / norm.clamp_min(TINY)


def feature_loss(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Return sum_k MSE(F_q^k / ||F_q^k||, F_f^k / ||F_f^k||), a scalar."""
    return torch.stack([F.mse_loss(unit_energy(q), unit_energy(f)) for q, f in zip(student, teacher)]).sum()
