"""Files that appear whole or not at all, and the folder for what can be made or fetched again."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISDIR
from typing import BinaryIO

from compsrt_plugin.errors import CompSRTError

CACHE_VARIABLE = "COMPSRT_CACHE"
_FREE_SPACE = "free some space, or choose a folder you may write to"


class UnwritableError(CompSRTError):
    """Nothing can be written where it should go: trying the next file would not help."""


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], *, hint: str = _FREE_SPACE, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name `path` only once it is complete.

    The bytes go to a hidden neighbour first (same folder, so that the last step is a rename). If the body
    raises, the neighbour is removed and whatever was at `path` stays as it was. Missing folders are made.

    Args:
        path: of the file.
        hint: the next step for a user whose disk refuses.
        sync: wait until the bytes are on the disk, so that a power cut leaves the old file or the new one. Files
            by the hundred that can be made again do without.

    Raises:
        UnwritableError: the folder cannot be written, the disk is full, `path` is a folder.
    """
    path = Path(path)
    # A plain open, not tempfile: the file then gets the permissions of the user's umask, not 0600.
    # The neighbour's name is short whatever the target's, so that it never outgrows the file system's limit.
    part = path.parent / f".part-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "xb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise UnwritableError(f"cannot write {path}: {error.strerror or error}", hint=hint) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_whole(path: str | os.PathLike[str], content: bytes, *, sync: bool = True) -> None:
    """Write `content` to `path` through `atomic_file`; raises UnwritableError."""
    with atomic_file(path, sync=sync) as file:
        file.write(content)


def check_ending(flag: str, path: str | os.PathLike[str], *allowed: str) -> str:
    """Return the ending of a file that a flag names, which says what is written; without one, the first allowed.

    Args:
        flag: that named the file, for the message.
        path: of the file.
        allowed: endings that can be written, `.png` and the like.

    Raises:
        CompSRTError: another ending: what is in a file is what its name says.
    """
    ending = Path(path).suffix.lower()
    if ending and ending not in allowed:
        raise CompSRTError(f"{flag} {path} ends in {ending}", allowed=" or ".join(allowed))
    return ending or allowed[0]


def link_to(source: Path, path: Path) -> bool:
    """Make `path` a symbolic link to a file, whole or not at all; return False where links cannot be made."""
    part = path.parent / f".part-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.symlink_to(source.resolve())
        os.replace(part, path)
    except OSError:
        return False
    return True


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder, links as such; what another process removes meanwhile counts 0."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            stat = path.lstat()
            total += 0 if S_ISDIR(stat.st_mode) else stat.st_size
    return total


def cache_root() -> Path:
    """Return the folder for what can be made or fetched again: `$COMPSRT_CACHE`, or one in the user's cache folder.

    In order: `$COMPSRT_CACHE`, `$XDG_CACHE_HOME/compsrt_plugin`, `~/.cache/compsrt_plugin`. If it cannot be
    written, one warning is logged and a temporary folder serves until this process ends.
    """
    given = os.environ.get(CACHE_VARIABLE)
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _writable(Path(given or Path(home, "compsrt_plugin")).expanduser().absolute())


@functools.cache
def _writable(folder: Path) -> Path:
    """Return the folder if it can be written, else a temporary one; asked and warned once per process."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        write_whole(probe, b"", sync=False)
        probe.unlink()
    except (UnwritableError, OSError) as error:
        temporary = Path(tempfile.mkdtemp(prefix="compsrt_plugin-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        # not get_root_logger(): its first call would decide about BasicSR's log file
        logging.getLogger("basicsr").warning(
            "%s; %s serves until this run ends; set %s to a folder you may write to", error, temporary, CACHE_VARIABLE
        )
        return temporary
    return folder
