"""A run that a mistake of the user stops early leaves nothing behind."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compsrt_plugin.errors import CompSRTError

NOTHING_OF_WORTH = (".log", ".yml")


def check_writable(folder: Path) -> None:
    """Raise a CompSRTError unless files can be made in `folder`, or in the place where it would be made."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    hint = "start in a folder where you may write"
    if not place.is_dir():
        raise CompSRTError(f"cannot write to {folder}: {place} is not a folder", hint="move it away")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise CompSRTError(f"cannot write to {folder}: {error.strerror}", hint=hint) from error


@contextmanager
def leaves_nothing_on_error(folders: list[Path]) -> Iterator[None]:
    """Undo what BasicSR's pipeline did to its run folders if a CompSRTError ends it before any result.

    BasicSR renames an earlier folder to `NAME_archived_TIME` and makes a new one before it has read a single
    picture. If the new one holds no more than logs by then, it goes, and the earlier one gets its name back.

    Args:
        folders: the run's own folders, such as `results/NAME`.
    """
    before = {folder: (_identity(folder), _archived(folder), folder.parent.exists()) for folder in folders}
    try:
        yield
    except CompSRTError:
        for folder, (identity, archived, parent_existed) in before.items():
            if not folder.exists() or _identity(folder) == identity or not _is_worthless(folder):
                continue
            _close_logs_in(folder)
            shutil.rmtree(folder)
            for earlier in _archived(folder) - archived:
                earlier.rename(folder)
            if not parent_existed and not any(folder.parent.iterdir()):
                folder.parent.rmdir()
        raise


def _identity(folder: Path) -> int | None:
    return folder.stat().st_ino if folder.exists() else None


def _archived(folder: Path) -> set[Path]:
    return set(folder.parent.glob(f"{folder.name}_archived_*"))


def _is_worthless(folder: Path) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return all(path.suffix in NOTHING_OF_WORTH or "tfevents" in path.name for path in files)


def _close_logs_in(folder: Path) -> None:
    logger = logging.getLogger("basicsr")
    for handler in list(logger.handlers):
        if isinstance(handler, logging.FileHandler) and folder in Path(handler.baseFilename).parents:
            logger.removeHandler(handler)
            handler.close()
