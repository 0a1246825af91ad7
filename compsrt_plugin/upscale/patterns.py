"""Find the files that match a shell pattern, with `**` for any depth. Each folder is searched once.

Python's `glob` follows links below `**` until the system stops it. A link to a folder's own parent is followed 40
times, which gives each image 40 names. With two such links it does not end.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TypeVar

has_magic = glob.has_magic
ANY_DEPTH = "**"
AnyPath = TypeVar("AnyPath", bound=PurePath)


def fixed_part(pattern: AnyPath) -> AnyPath:
    """Return the part of a pattern before its first wildcard."""
    parts = pattern.parts
    return type(pattern)(*parts[: next(index for index, part in enumerate(parts) if has_magic(part))])


def matching(pattern: Path) -> list[Path]:
    """Return the matching files and folders, sorted, without duplicates and without hidden ones."""
    return [Path(match) for match in sorted(set(_matching(pattern.parts)))]


def _matching(parts: tuple[str, ...]) -> Iterator[str]:
    if ANY_DEPTH not in parts:
        yield from glob.iglob(os.path.join(*parts))
        return
    index = parts.index(ANY_DEPTH)
    rest = parts[index + 1 :] or ("*",)
    for start in glob.glob(os.path.join(*parts[:index])) if index else [os.curdir]:
        for folder in _folders_below(start):
            below = () if folder == os.curdir else (glob.escape(folder),)
            yield from _matching((*below, *rest))


def _folders_below(start: str) -> Iterator[str]:
    """Yield a folder and all folders below it. Linked folders come last, so that an image keeps its true name."""
    seen: set[tuple[int, int]] = set()
    waiting, linked = [start], []
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted((entry for entry in os.scandir(folder) if entry.name[0] != "."), key=lambda e: e.name)
        except OSError:  # not a folder, a broken link, or not readable: nothing in it matches
            continue
        yield folder
        for entry in reversed(entries):
            path = entry.name if folder == os.curdir else entry.path
            if entry.is_symlink():
                linked.append(path)
            elif entry.is_dir():
                waiting.append(path)
