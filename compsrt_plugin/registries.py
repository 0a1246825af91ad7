"""Registration in BasicSR's registries that may run twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

C = TypeVar("C", bound=Callable[..., Any])


def register_once(registry: Any) -> Callable[[C], C]:
    """Return a decorator that registers a class or function in a BasicSR registry, unless its name is registered.

    BasicSR's own decorator raises an error for a name that is registered already, for example after a module was
    reloaded.
    """

    def register(entry: C) -> C:
        if entry.__name__ not in registry:
            registry.register(entry)
        return entry

    return register
