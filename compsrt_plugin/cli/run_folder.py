"""Protect earlier results: a run that fails before it has results puts the earlier ones back."""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from compsrt_plugin.basicsr_compat.training import free_name
from compsrt_plugin.errors import CompSRTError

NOTHING_OF_WORTH = (".log", ".yml")
OF_WORTH = ("results.json", "training_states/*", "models/*")  # a report, or a state that --auto_resume can use
_EXPECTED = (CompSRTError, KeyboardInterrupt, SystemExit)  # any other exception may be a bug, and its log is kept
_SIGNALS = ("SIGTERM", "SIGHUP", "SIGINT")


def check_writable(folder: Path) -> None:
    """Raise CompSRTError unless files can be written to `folder`, or to the folder where it would be created."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    hint = "start in a folder that you may write to"
    if not place.is_dir():
        raise CompSRTError(f"cannot write to {folder}: {place} is not a folder", hint="move it away")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise CompSRTError(f"cannot write to {folder}: {error.strerror}", hint=hint) from error


@dataclass(frozen=True)
class _Before:
    """The state of a run folder before the run."""

    identity: int | None
    archived: set[Path]
    parent_existed: bool


@contextmanager
def keeps_earlier_results(folders: list[Path]) -> Iterator[None]:
    """Restore the run folders if BasicSR's pipeline ends by an error, a signal or Ctrl-C before it has results.

    BasicSR renames an earlier folder to `NAME_archived_TIME` and makes a new one before it reads any image. On failure,
    the earlier folder gets its name back. The new folder is removed if it holds nothing but logs. After an error that
    is not a user error, its logs move to the earlier folder. A new folder with other files becomes `NAME_failed_TIME`.
    A test with its report and a training with a state to resume from stay.

    Args:
        folders: folders of the run, such as `results/NAME`.
    """
    before = {folder: _Before(_identity(folder), _archived(folder), folder.parent.exists()) for folder in folders}
    try:
        with _signals_as_exits():
            yield
    except BaseException as error:
        for folder, was in before.items():
            _restore(folder, was, keep_logs=not isinstance(error, _EXPECTED))
        raise


def _restore(folder: Path, was: _Before, keep_logs: bool) -> None:
    earlier = next(iter(_archived(folder) - was.archived), None)
    if folder.exists() and _identity(folder) != was.identity:
        if any(path.is_file() for pattern in OF_WORTH for path in folder.glob(pattern)):
            return
        worthless = _is_worthless(folder)
        if earlier is None and (keep_logs or not worthless):
            return
        _close_logs_in(folder)
        if not worthless:
            aside = free_name(f"{folder}_failed")
            folder.rename(aside)
            logging.getLogger("basicsr").warning("The files written before the failure are in %s", aside)
        else:
            if earlier is not None and keep_logs:
                for log in folder.glob("*.log"):
                    log.rename(earlier / log.name)
            shutil.rmtree(folder)
    if earlier is not None and not folder.exists():
        earlier.rename(folder)
    if not was.parent_existed:
        with contextlib.suppress(OSError):  # it is not empty, or was never made
            folder.parent.rmdir()


@contextmanager
def _signals_as_exits() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise SystemExit(128 + number), so that cleanup code runs.

    All handlers are restored at the end, including those that a training replaced and an error kept it from restoring.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # Python allows handlers in the main thread only
        for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
            before[number] = signal.getsignal(number)
            if before[number] == signal.SIG_DFL:
                signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _identity(folder: Path) -> int | None:
    return folder.stat().st_ino if folder.exists() else None


def _archived(folder: Path) -> set[Path]:
    if not folder.parent.is_dir():
        return set()
    return {path for path in folder.parent.iterdir() if path.name.startswith(f"{folder.name}_archived_")}


def _is_worthless(folder: Path) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return all(path.suffix in NOTHING_OF_WORTH or "tfevents" in path.name for path in files)


def _close_logs_in(folder: Path) -> None:
    logger = logging.getLogger("basicsr")
    for handler in list(logger.handlers):
        if isinstance(handler, logging.FileHandler) and folder in Path(handler.baseFilename).parents:
            logger.removeHandler(handler)
            handler.close()
