"""Full-precision weights of a network: loading them, and their size."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import nn

from compsrt_plugin.packed.matching import check_matches
from compsrt_plugin.packed.weights import load_weights


@runtime_checkable
class ForeignNetwork(Protocol):
    """A network that reads weight files by its own method."""

    def read_weights(self, source: str, param_key: str | None = None) -> dict[str, torch.Tensor]:
        """Read a weight file."""
        ...


def load_full_precision(network: nn.Module, source: str, param_key: str | None = None) -> None:
    """Load a weight file (path or URL) into a full-precision network.

    Args:
        network: full precision, not converted.
        source: the file.
        param_key: the entry to read, see `packed.entries`.

    Raises:
        CompSRTError: the file cannot be used, or does not fit.
    """
    if isinstance(network, ForeignNetwork):
        weights = network.read_weights(source, param_key)
    else:
        weights = load_weights(source, param_key=param_key)
    check_matches(weights, network, source)
    network.load_state_dict(weights, strict=False)  # only derived buffers may be missing: the rest was checked


def float_bytes(network: nn.Module) -> int:
    """Return the bytes of the network's parameters at 4 bytes each."""
    return 4 * sum(p.numel() for p in network.parameters())
