"""Write files atomically, and find the cache folder."""

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
_FREE_SPACE = "free some space, or choose a folder that you may write to"


class UnwritableError(CompSRTError):
    """The target folder cannot be written. The next file would fail too."""


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], *, hint: str = _FREE_SPACE, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file for writing that gets the name `path` only when it is complete.

    The bytes go to a hidden file in the same folder, which is renamed at the end. If the body raises, the hidden file
    is removed and `path` does not change. Missing folders are created.

    Args:
        path: the file.
        hint: the next step for the user if the file cannot be written.
        sync: whether to wait until the bytes are on the disk, so that a power failure leaves the old or the new file.
            Not needed for many files that can be made again.

    Raises:
        UnwritableError: the folder cannot be written, the disk is full, or `path` is a folder.
    """
    path = Path(path)
    # open, not tempfile: the file gets the permissions of the user's umask, not 0600.
    # The hidden name is short for any target, so it never exceeds the limit of the file system.
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
    """Write `content` to `path` by `atomic_file`. Raises UnwritableError."""
    with atomic_file(path, sync=sync) as file:
        file.write(content)


def check_ending(flag: str, path: str | os.PathLike[str], *allowed: str) -> str:
    """Return the extension of an output file, which determines its format. Without one, the first allowed.

    Args:
        flag: the flag that names the file, for the message.
        path: the file.
        allowed: extensions that can be written, such as `.png`.

    Raises:
        CompSRTError: the extension is not allowed.
    """
    ending = Path(path).suffix.lower()
    if ending and ending not in allowed:
        raise CompSRTError(f"{flag} {path} ends in {ending}", allowed=" or ".join(allowed))
    return ending or allowed[0]


def link_to(source: Path, path: Path) -> bool:
    """Make `path` a symbolic link to a file, atomically. Return False if links are not supported."""
    part = path.parent / f".part-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.symlink_to(source.resolve())
        os.replace(part, path)
    except OSError:
        return False
    return True


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder. Links are not followed, and files removed meanwhile count 0."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            stat = path.lstat()
            total += 0 if S_ISDIR(stat.st_mode) else stat.st_size
    return total


def cache_root() -> Path:
    """Return the cache folder, for files that can be made or downloaded again.

    In order: `$COMPSRT_CACHE`, `$XDG_CACHE_HOME/compsrt_plugin`, `~/.cache/compsrt_plugin`. If it cannot be written, a
    warning is logged once and a temporary folder is used until this process ends.
    """
    given = os.environ.get(CACHE_VARIABLE)
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _writable(Path(given or Path(home, "compsrt_plugin")).expanduser().absolute())


@functools.cache
def _writable(folder: Path) -> Path:
    """Return the folder if it can be written, else a temporary one. Cached per process."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        write_whole(probe, b"", sync=False)
        probe.unlink()
    except (UnwritableError, OSError) as error:
        temporary = Path(tempfile.mkdtemp(prefix="compsrt_plugin-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        # not get_root_logger(), whose first call determines BasicSR's log file
        logging.getLogger("basicsr").warning(
            "%s; using %s until this run ends; set %s to a folder that you may write to",
            error,
            temporary,
            CACHE_VARIABLE,
        )
        return temporary
    return folder
