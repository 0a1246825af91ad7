"""Read and write unambiguous JSON: no repeated keys, no NaN, no huge numbers, no deep nesting."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 50
_MAX_DIGITS = 40


def dump(value: Any) -> str:
    """Return `value` as canonical JSON: sorted keys, no spaces, ASCII only. Tuples become lists.

    Raises:
        TypeError: a key is not a string, or a value is not a dict, list, tuple, str, number, bool or None.
        ValueError: a number is NaN, infinite or too long, or the nesting is deeper than `MAX_DEPTH`.
    """
    _check(value, "header")
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def load_strict(text: str | bytes) -> Any:
    """Return the value of JSON from an untrusted source.

    Raises:
        ValueError: the text is not JSON, repeats a key, holds NaN or too long a number, or is nested too deeply.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_int=_integer)
    except RecursionError:
        raise ValueError(f"JSON is nested more than {MAX_DEPTH} deep") from None
    _check(value, "JSON")
    return value


def _check(value: Any, where: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"{where[:80]} is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}, which is not a string")
            _check(item, f"{where}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _check(item, f"{where}[{i}]", depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where[:80]} is {value}, which JSON cannot hold")
    elif isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 10**_MAX_DIGITS:
            raise ValueError(f"{where[:80]} has more than {_MAX_DIGITS} digits")
    elif not (value is None or isinstance(value, (str, bool))):
        raise TypeError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("JSON repeats a key")
    return found


def _integer(digits: str) -> int:
    # Before Python 3.11, int() accepts a million digits and takes quadratic time.
    if len(digits) > _MAX_DIGITS + 1:
        raise ValueError(f"JSON has a number of more than {_MAX_DIGITS} digits")
    return int(digits)
