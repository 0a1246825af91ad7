"""What a value may be: small checks that raise an error naming the key, the value, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from compsrt_plugin.errors import CompSRTError, unknown_name

Check = Callable[[str, Any], None]  # (dotted key, value); raises CompSRTError


def whole(low: int, high: int | None = None) -> Check:
    """A whole number from `low` to `high` inclusive."""
    allowed = f"{low} to {high}" if high is not None else f"whole numbers from {low}"

    def check(key: str, value: Any) -> None:
        right = isinstance(value, int) and not isinstance(value, bool)
        if not right or value < low or (high is not None and value > high):
            raise CompSRTError(f"{key} is {value!r}", allowed=allowed)

    return check


def number(low: float, below: float = math.inf, *, above: bool = False) -> Check:
    """A finite number at least `low` (more than `low` if `above`) and less than `below`."""
    allowed = f"numbers {'above' if above else 'from'} {low:g}"
    allowed += f" to below {below:g}" if below < math.inf else ""

    def check(key: str, value: Any) -> None:
        right = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not right or value < low or (above and value == low) or value >= below:
            raise CompSRTError(f"{key} is {value!r}", allowed=allowed)

    return check


def flag() -> Check:
    """True or false."""

    def check(key: str, value: Any) -> None:
        if not isinstance(value, bool):
            raise CompSRTError(f"{key} is {value!r}", allowed="true or false")

    return check


def text() -> Check:
    """Text that is not empty."""

    def check(key: str, value: Any) -> None:
        if not isinstance(value, str) or not value.strip():
            raise CompSRTError(f"{key} is {value!r}", allowed="text")

    return check


def choice(names: Callable[[], Iterable[str]]) -> Check:
    """One of the names that `names()` returns at the time of the check."""

    def check(key: str, value: Any) -> None:
        known = list(names())
        if not isinstance(value, str) or value not in known:
            raise unknown_name(f"{key}:", value, known)

    return check


def optional(inner: Check) -> Check:
    """What `inner` allows, or null."""

    def check(key: str, value: Any) -> None:
        if value is not None:
            inner(key, value)

    return check


def mapping() -> Check:
    """A mapping from names to anything."""

    def check(key: str, value: Any) -> None:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise CompSRTError(f"{key} is {value!r}", allowed="a mapping such as {n: 2, m: 4}")

    return check


def per_pattern(inner: Check) -> Check:
    """A mapping from layer-name patterns to what `inner` allows."""

    def check(key: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise CompSRTError(f"{key} is {value!r}", allowed="a mapping from layer-name patterns")
        for pattern, part in value.items():
            inner(f"{key}[{pattern!r}]", part)

    return check
