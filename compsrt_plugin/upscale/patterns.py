"""Files that a shell's pattern matches, `**` for any depth; each folder is searched once, whatever links lead to it.

`glob` follows links below `**` as often as the system lets it, 40 times for one to a folder's own parent: the same
pictures under 40 names, and with two such links no end.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

has_magic = glob.has_magic
ANY_DEPTH = "**"


def fixed_part(pattern: Path) -> Path:
    """Return the folders of a pattern before its first wildcard."""
    parts = pattern.parts
    return Path(*parts[: next(index for index, part in enumerate(parts) if has_magic(part))])


def matching(pattern: Path) -> list[Path]:
    """Return the files and folders that match, hidden ones left out as `glob` does; sorted, each once."""
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
    """Yield a folder and all below it, those that links lead to last, so that a picture keeps its true name."""
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
        except OSError:  # no folder, a link that leads nowhere, or none that may be read: nothing in it matches
            continue
        yield folder
        for entry in reversed(entries):
            path = entry.name if folder == os.curdir else entry.path
            if entry.is_symlink():
                linked.append(path)
            elif entry.is_dir():
                waiting.append(path)
