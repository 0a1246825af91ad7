"""What has been made in a folder, and from what: a repeated run does only what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compsrt_plugin.files import UnwritableError

FILE_NAME = ".compsrt_made.jsonl"  # hidden: BasicSR takes every other file of a folder for an image


class Journal:
    """One JSON line per finished file, appended once the file is whole; the last line about a file counts.

    A process killed in the middle leaves at worst a file without its line, or half a last line: both mean
    that the file is made again. Several processes may append at once.

    Args:
        folder: the files' root; places are relative to it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / FILE_NAME
        self._made: dict[str, dict[str, Any]] = {}
        try:
            lines = self._file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            try:
                entry = json.loads(line)
                self._made[entry["file"]] = entry
            except (ValueError, KeyError, TypeError):
                continue  # cut off when a process was killed

    def holds(self, place: str, made_from: list[Any]) -> bool:
        """Tell whether the file is there, whole, and was made from exactly this (JSON values)."""
        entry = self._made.get(place)
        if entry is None or entry.get("from") != made_from:
            return False
        try:
            return (self._folder / place).stat().st_size == entry.get("bytes")
        except OSError:
            return False

    def add(self, place: str, made_from: list[Any]) -> None:
        """Note a finished file. Raises UnwritableError."""
        try:
            entry = {"file": place, "bytes": (self._folder / place).stat().st_size, "from": made_from}
            with open(self._file, "a", encoding="utf-8") as stream:
                # the leading line feed ends a line that a killed process left half
                stream.write(f"\n{json.dumps(entry)}\n")
        except OSError as error:
            raise UnwritableError(f"cannot write {self._file}: {error.strerror or error}") from error
        self._made[place] = entry
