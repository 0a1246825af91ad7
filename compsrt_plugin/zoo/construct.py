"""Build a network of a foreign class, and turn any exception into a CompSRTError."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from compsrt_plugin.errors import CompSRTError


def construct(network_class: Any, arguments: Mapping[str, Any], name: str) -> nn.Module:
    """Build a foreign network; CompSRTError in one line if its arguments do not fit."""
    try:
        inspect.signature(network_class).bind(**arguments)
    except TypeError as error:
        raise CompSRTError(
            f"network_g.base: {name}: {error}",
            allowed=", ".join(p for p in inspect.signature(network_class).parameters if p not in ("args", "kwargs")),
        ) from error
    try:
        return network_class(**arguments)
    except Exception as error:  # foreign code may raise anything when an argument does not suit it
        said = (str(error).strip().split("\n")[0] or type(error).__name__)[:160]
        raise CompSRTError(
            f"network_g.base: {name} cannot be built with these arguments ({said})",
            hint="correct network_g.base: its arguments are those of the class",
        ) from error
