"""Record in a bucket which objects were made, and from what: one small object for each, as nothing can be appended."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from compsrt_plugin.buckets import BucketPath, BucketStat, Place
from compsrt_plugin.data.journal import Journal

PREFIX = ".compsrt_made"  # hidden, as the file of a folder is


class AnyJournal(Protocol):
    """The journal of a folder or of a bucket."""

    def holds(self, place: str, made_from: list[Any]) -> bool:
        """Return whether the result exists, is complete, and was made from exactly this (JSON values)."""
        ...

    def add(self, place: str, made_from: list[Any]) -> None:
        """Record a finished result. Raises UnwritableError."""
        ...


class BucketJournal:
    """A journal with one object per finished result, `.compsrt_made/PLACE.DIGEST`.

    The digest is that of what the result was made from, and of its length and time, so that a listing says all. A
    result that was made again later, or replaced by someone, has another time.

    Args:
        root: prefix of the results. Places are relative to it.
    """

    def __init__(self, root: BucketPath) -> None:
        self._root = root

    @cached_property
    def _there(self) -> dict[str, BucketStat]:
        found = self._root.below(deep=True)
        return {path.relative_to(self._root).as_posix(): path.stat() for path in found}

    def holds(self, place: str, made_from: list[Any]) -> bool:
        """See `AnyJournal`. Raises CompSRTError if the bucket is not there, closed, or not reached."""
        stat = self._there.get(place)
        return stat is not None and _entry(place, made_from, stat)[0] in self._there

    def add(self, place: str, made_from: list[Any]) -> None:
        """See `AnyJournal`."""
        name, content = _entry(place, made_from, (self._root / place).stat())
        (self._root / name).write_bytes(content)


def journal_of(root: Place) -> AnyJournal:
    """Return the journal of a folder, or of a prefix in a bucket."""
    return Journal(root) if isinstance(root, Path) else BucketJournal(root)


def _entry(place: str, made_from: list[Any], stat: BucketStat) -> tuple[str, bytes]:
    """Return name and content of the object that records a result."""
    line = {"file": place, "bytes": stat.st_size, "time": stat.st_mtime_ns, "from": made_from}
    content = json.dumps(line, sort_keys=True).encode()
    return f"{PREFIX}/{place}.{hashlib.sha256(content).hexdigest()[:32]}", content
