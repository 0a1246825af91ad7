"""What option values may be: ranges, text that becomes a file's name, paths, packages that must be installed."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from msgspec import Meta

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.spec import MAX_BITS, MIN_BITS

MOST_BYTES = 200
"""Of a name that becomes a folder: BasicSR appends a word and a time, and file systems end at 255."""
MOST_BYTES_OF_SUFFIX = 80

Bits = Annotated[int, Meta(ge=MIN_BITS, le=MAX_BITS)]
FromZero = Annotated[int, Meta(ge=0)]
FromOne = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
PositiveShare = Annotated[float, Meta(gt=0, lt=1)]
CountFromZero = Annotated[float, Meta(ge=0, multiple_of=1)]  # counts may be written as 5e3
CountFromOne = Annotated[float, Meta(ge=1, multiple_of=1)]
Text = Annotated[str, Meta(min_length=1)]


def names(of: Callable[[], Iterable[str]], own: bool = False) -> Meta:
    """Return the constraint to the names that `of()` returns; `own` where a user's code may add to them."""
    return Meta(extra={"names": of, "own": own})


def _check_path(key: str, value: str) -> None:
    try:
        os.fsencode(value)
    except UnicodeEncodeError as error:
        found = f"{key} is {value!r}, which this locale ({sys.getfilesystemencoding()}) has no letters for"
        raise CompSRTError(found, hint="start with PYTHONUTF8=1 in the environment") from error


def _file_name(most: int) -> Meta:
    def check(key: str, value: str) -> None:
        if value in (".", "..") or not value.isprintable() or set(value) & set("/\\"):
            raise CompSRTError(f"{key} is {value!r}", allowed="a plain name, which names a folder or a file")
        _check_path(key, value)
        size = len(os.fsencode(value))
        if size > most:
            raise CompSRTError(f"{key} has {size} bytes", allowed=f"up to {most}, since it names folders and files")

    return Meta(min_length=1, extra={"check": check})


def installed(package: str) -> Meta:
    """Return the constraint that `package` can be imported."""

    def check(key: str, value: Any) -> None:
        if importlib.util.find_spec(package) is None:
            raise CompSRTError(f"{key} is {value!r}, but {package} is not installed", hint=f"pip install {package}")

    return Meta(min_length=1, extra={"check": check})


FilePath = Annotated[str, Meta(min_length=1, extra={"check": _check_path})]
FolderName = Annotated[str, _file_name(MOST_BYTES)]
Suffix = Annotated[str, _file_name(MOST_BYTES_OF_SUFFIX)]
