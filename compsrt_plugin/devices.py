"""Where a network computes: what its inputs and the tensors made for it must be like."""

from __future__ import annotations

from itertools import chain
from typing import Any

from torch import Tensor


def example(network: Any) -> Tensor | None:
    """Return a floating parameter of a network, else a floating buffer; None where there is neither.

    Its device and dtype are those that an input of the network must have.

    Args:
        network: a module, or any other callable, which has none.
    """
    parameters = getattr(network, "parameters", tuple)()
    buffers = getattr(network, "buffers", tuple)()
    return next((tensor for tensor in chain(parameters, buffers) if tensor.is_floating_point()), None)
