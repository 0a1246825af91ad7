"""Classes that are derived from module classes at run time, and instances of them that can be pickled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from copyreg import __newobj__ as new_object  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

Derivation = tuple[tuple[type, ...], dict[str, Any]]
"""Return value of a function decorated with `derives_classes`: bases to put before the class, and new attributes."""


class DerivedClass:
    """First base of a class that is derived at run time; instances pickle as the original class and its derivation."""

    derived_by: tuple[Callable[..., type], type, tuple[Any, ...]]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Reduce like any object, except that the class is derived again instead of imported by name."""
        reduced = super().__reduce_ex__(protocol)
        if isinstance(reduced, tuple) and reduced[0] is new_object:
            return (_new, (_derivation_of(type(self)), *reduced[1][1:]), *reduced[2:])
        return reduced


def derives_classes(make: Callable[..., Derivation]) -> Callable[..., type]:
    """Return a function that derives a class of the same name from another, cached by its arguments."""

    @functools.cache
    @functools.wraps(make)
    def derive(module_class: type, *arguments: Any) -> type:
        bases, attributes = make(module_class, *arguments)
        names = {"__module__": module_class.__module__, "__doc__": module_class.__doc__}
        first = () if issubclass(module_class, DerivedClass) else (DerivedClass,)
        new = type(module_class.__name__, (*first, *bases, module_class), {**names, **attributes})
        new.derived_by = (derive, module_class, arguments)  # pyright: ignore[reportAttributeAccessIssue]
        return new

    return derive


def _derivation_of(module_class: type) -> Any:
    if "derived_by" not in vars(module_class):
        return module_class
    make, original, arguments = vars(module_class)["derived_by"]
    return (make, _derivation_of(original), arguments)


def _derived(derivation: Any) -> type:
    if isinstance(derivation, type):
        return derivation
    make, original, arguments = derivation
    return make(_derived(original), *arguments)


def _new(derivation: Any, *arguments: Any) -> Any:
    module_class = _derived(derivation)
    return module_class.__new__(module_class, *arguments)
