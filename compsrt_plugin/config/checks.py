"""What a value may be: small checks that raise an error naming the key, the value, and what is allowed."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from compsrt_plugin.errors import CompSRTError, unknown_class, unknown_name

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


def count(low: int) -> Check:
    """A whole number from `low` on, which may be written as a float: 5e3."""

    def check(key: str, value: Any) -> None:
        right = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not right or value != int(value) or value < low:
            raise CompSRTError(f"{key} is {value!r}", allowed=f"whole numbers from {low}")

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


def choice(names: Callable[[], Iterable[str]], own: bool = False) -> Check:
    """One of the names that `names()` returns at the time of the check; `own` where a user's code may add to them."""
    unknown = unknown_class if own else unknown_name

    def check(key: str, value: Any) -> None:
        known = list(names())
        if not isinstance(value, str) or value not in known:
            raise unknown(f"{key}:", value, known)

    return check


def anything() -> Check:
    """Every value: someone else checks it, or nothing can be said about it."""
    return lambda key, value: None


def list_of(inner: Check, length: int | None = None) -> Check:
    """A list of what `inner` allows, not empty, with `length` entries if that is given."""
    allowed = f"a list of {length} values" if length else "a list of one value or more"

    def check(key: str, value: Any) -> None:
        if not isinstance(value, (list, tuple)) or not value or (length is not None and len(value) != length):
            raise CompSRTError(f"{key} is {value!r}", allowed=allowed)
        for number, part in enumerate(value):
            inner(f"{key}[{number}]", part)

    return check


def path() -> Check:
    """Text that may be a path: in a locale of another encoding not every text may."""

    def check(key: str, value: Any) -> None:
        text()(key, value)
        _encoded(key, value)

    return check


def _encoded(key: str, value: str) -> bytes:
    try:
        return os.fsencode(value)
    except UnicodeEncodeError as error:
        found = f"{key} is {value!r}, which this locale ({sys.getfilesystemencoding()}) has no letters for"
        raise CompSRTError(found, hint="start with PYTHONUTF8=1 in the environment") from error


def file_name(most: int) -> Check:
    """Text that becomes part of a file's name: no separators, at most `most` bytes."""

    def check(key: str, value: Any) -> None:
        text()(key, value)
        if value in (".", "..") or not value.isprintable() or set(value) & set("/\\"):
            raise CompSRTError(f"{key} is {value!r}", allowed="a plain name: it becomes a folder's or a file's")
        size = len(_encoded(key, value))
        if size > most:
            raise CompSRTError(
                f"{key} has {size} bytes", allowed=f"up to {most}: names of files and folders are made of it"
            )

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
