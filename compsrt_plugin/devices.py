"""Determine the device and dtype of a network's inputs, and run it on a batch."""

from __future__ import annotations

from itertools import chain
from typing import Any

from torch import Tensor

from compsrt_plugin.errors import CompSRTError


def example(network: Any) -> Tensor | None:
    """Return a floating-point parameter of a network, else a floating-point buffer, else None.

    Inputs of the network must have its device and dtype.

    Args:
        network: a module, or any other callable (which has neither).
    """
    parameters = getattr(network, "parameters", tuple)()
    buffers = getattr(network, "buffers", tuple)()
    return next((tensor for tensor in chain(parameters, buffers) if tensor.is_floating_point()), None)


def forward(network: Any, batch: Any) -> Any:
    """Return `network(batch)`.

    Args:
        network: a module, or any other callable.
        batch: its input: usually a tensor, for some networks a list or a dictionary.

    Raises:
        CompSRTError: the batch is not a tensor (for example from a `torch.utils.data.DataLoader`), and the network
            cannot run on it.
    """
    try:
        return network(batch)
    except CompSRTError:
        raise
    except Exception as error:
        if isinstance(batch, Tensor):
            raise
        raise CompSRTError(
            f"a batch is a {type(batch).__name__}, on which {type(network).__name__} cannot run ({error})",
            allowed="tensors",
            hint="extract them, for example by (batch[0] for batch in loader)",
        ) from error
