"""Lock a run folder: a second run of the same name is refused, and a killed run leaves no lock."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from compsrt_plugin.errors import CompSRTError

try:
    import fcntl
except ImportError:  # Windows, where runs are not locked
    fcntl = None

TAKEN = (errno.EACCES, errno.EAGAIN)
_held: set[Path] = set()  # locks of this process; the system would grant them to it a second time


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Lock the run folder within the context. Two runs of one name would write into each other's results.

    The lock is a POSIX record lock on a hidden file next to the folder. The system releases it when the process ends in
    any way. Child processes do not inherit it (data loader workers may outlive a killed run by seconds). The file names
    the holder. It is removed when the run ends, and may remain after a kill, without effect.

    Args:
        folder: the run folder, such as `results/NAME`. It need not exist.

    Raises:
        CompSRTError: another run holds the lock. The message names the process.
    """
    if fcntl is None:
        yield
        return
    path = folder.with_name(f".{folder.name}.lock").absolute()
    parent_existed = path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(path, folder)
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        path.unlink(missing_ok=True)  # still locked: a waiting process finds the file gone and makes another
        os.close(descriptor)
        if not parent_existed:
            with contextlib.suppress(OSError):  # it is not empty
                path.parent.rmdir()


def _locked(path: Path, folder: Path) -> int:
    """Return the descriptor of the open and locked file."""
    assert fcntl is not None
    while True:
        if path in _held:
            raise _taken(folder, _holder(os.getpid()))
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            if error.errno in TAKEN:
                os.close(descriptor)
                raise _taken(folder, holder) from error
            return descriptor  # a file system without locks
        if _is_at(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, _holder(os.getpid()).encode())
            return descriptor
        os.close(descriptor)  # its holder removed the file between our two steps


def _holder(process: int) -> str:
    return f"process {process} on {socket.gethostname()}, since {time.strftime('%H:%M:%S')}"


def _taken(folder: Path, holder: str) -> CompSRTError:
    return CompSRTError(
        f"another run writes to {folder} ({holder or 'just started'})",
        hint="wait until it ends, stop it, or use another name: --force_yml name=NAME",
    )


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
