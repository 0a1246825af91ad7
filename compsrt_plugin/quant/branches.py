"""Merge branches: convolutions that their own code merges into one at each call in eval mode are merged once.

Networks such as SPAN train several branches side by side and compute one convolution from them before each forward pass
in eval mode (re-parametrization). That convolution cannot be quantized while its code writes to it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

MERGED = "eval_conv"  # the convolution, by the name that SPAN's code and its descendants use
MERGE = "update_params"  # the method that computes it


class MergedBranches(nn.Module):
    """A module with branches whose merged convolution is computed, and which is always in eval mode.

    Args:
        module: in eval mode; its forward uses the merged convolution and plain attributes.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        with torch.no_grad():
            getattr(module, MERGE)()
        plain = {name: value for name, value in vars(module).items() if isinstance(value, (bool, int, float, str))}
        self.__dict__.update({name: value for name, value in plain.items() if not name.startswith("_")})
        self.eval_conv = getattr(module, MERGED)
        self.original: Any = type(module)
        self.training = False

    def update_params(self) -> None:
        """Do nothing: the branches are merged."""

    def train(self, mode: bool = True) -> MergedBranches:
        """Set the mode of the convolution; this module stays in eval mode, where it has no branches."""
        super().train(mode)
        self.training = False
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Run the original code."""
        return self.original.forward(self, x)


def merge_branches(network: nn.Module) -> None:
    """Replace every module that merges its branches at each call, in place."""
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and _merges(child):
                parent._modules[name] = MergedBranches(child)


def _merges(module: nn.Module) -> bool:
    merged = getattr(module, MERGED, None)
    return isinstance(merged, nn.Conv2d) and callable(getattr(module, MERGE, None))
