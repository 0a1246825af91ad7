"""Where a network computes: what its inputs and the tensors made for it must be like."""

from __future__ import annotations

from itertools import chain
from typing import Any

from torch import Tensor

from compsrt_plugin.errors import CompSRTError


def example(network: Any) -> Tensor | None:
    """Return a floating parameter of a network, else a floating buffer; None where there is neither.

    Its device and dtype are those that an input of the network must have.

    Args:
        network: a module, or any other callable, which has none.
    """
    parameters = getattr(network, "parameters", tuple)()
    buffers = getattr(network, "buffers", tuple)()
    return next((tensor for tensor in chain(parameters, buffers) if tensor.is_floating_point()), None)


def forward(network: Any, batch: Any) -> Any:
    """Return `network(batch)`.

    Args:
        network: a module, or any other callable.
        batch: its input; most take a tensor, some a list or a dictionary.

    Raises:
        CompSRTError: if the batch is no tensor and the network cannot be run on it, such as what a
            `torch.utils.data.DataLoader` gives.
    """
    try:
        return network(batch)
    except CompSRTError:
        raise
    except Exception as error:
        if isinstance(batch, Tensor):
            raise
        raise CompSRTError(
            f"a batch is of the kind {type(batch).__name__}, on which {type(network).__name__} cannot be run ({error})",
            allowed="tensors",
            hint="take them out of it, as in (batch[0] for batch in loader)",
        ) from error
