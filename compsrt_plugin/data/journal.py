"""Record which files were made in a folder, and from what, so that a repeated run makes only the missing ones."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from compsrt_plugin.files import UnwritableError

FILE_NAME = ".compsrt_made.jsonl"  # hidden, because BasicSR takes every visible file for an image


class Journal:
    """A journal with one JSON line per finished file. The last line of a file counts.

    A killed process leaves at worst a file without its line, or half a line. In both cases the file is made again.
    Several processes may append at once.

    Args:
        folder: root of the files. Places are relative to it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / FILE_NAME

    @cached_property
    def _made(self) -> dict[str, dict[str, Any]]:
        """Read at the first question: who only adds needs none of a million lines."""
        made: dict[str, dict[str, Any]] = {}
        try:
            lines = self._file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            try:
                entry = json.loads(line)
                made[entry["file"]] = entry
            except (ValueError, KeyError, TypeError):
                continue  # truncated when a process was killed
        return made

    def holds(self, place: str, made_from: list[Any]) -> bool:
        """Return whether the file exists, is complete, and was made from exactly this (JSON values)."""
        entry = self._made.get(place)
        if entry is None or entry.get("from") != made_from:
            return False
        try:
            return (self._folder / place).stat().st_size == entry.get("bytes")
        except OSError:
            return False

    def add(self, place: str, made_from: list[Any]) -> None:
        """Record a finished file. Raises UnwritableError."""
        try:
            entry = {"file": place, "bytes": (self._folder / place).stat().st_size, "from": made_from}
            with open(self._file, "a", encoding="utf-8") as stream:
                # the leading line feed ends a partial line of a killed process
                stream.write(f"\n{json.dumps(entry)}\n")
        except OSError as error:
            raise UnwritableError(f"cannot write {self._file}: {error.strerror or error}") from error
        if "_made" in self.__dict__:
            self._made[place] = entry
