"""Replacement of a BasicSR function in every module that imported it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def rebind(original: Callable[..., Any], repaired: Callable[..., Any]) -> None:
    """Replace a BasicSR function, under its name, in every BasicSR module that imported it.

    `repaired` gets the attribute `repaired`, which `is_repaired` looks for.
    """
    repaired.repaired = True  # pyright: ignore[reportFunctionMemberAccess]
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] == "basicsr" and getattr(module, original.__name__, None) is original:
            setattr(module, original.__name__, repaired)


def is_repaired(function: Callable[..., Any]) -> bool:
    """Return whether the function is a replacement already."""
    return getattr(function, "repaired", False)
