"""One run of a name at a time: a second one is refused, and a run that was killed stands in nobody's way."""

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
except ImportError:  # Windows, where runs go unguarded
    fcntl = None

TAKEN = (errno.EACCES, errno.EAGAIN)
_held: set[Path] = set()  # by this process, to which the system would give its own lock a second time


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Within, no other process has the run folder: two runs of one name would write into each other's results.

    The lock is a POSIX record lock on a hidden file beside the folder. The system ends it with the process, however
    that ends, and child processes (workers of a data loader, which may outlive a killed run by seconds) do not
    inherit it. The file says who holds the lock; it goes when the run ends, and may stay behind after a kill.

    Args:
        folder: the run's, such as `results/NAME`; it need not exist.

    Raises:
        CompSRTError: another run has it; says which process.
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
        path.unlink(missing_ok=True)  # still locked: whoever waits for the file finds it gone, and makes another
        os.close(descriptor)
        if not parent_existed:
            with contextlib.suppress(OSError):  # something is in it
                path.parent.rmdir()


def _locked(path: Path, folder: Path) -> int:
    """Return the open and locked file."""
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
        os.close(descriptor)  # its holder ended, and took the file away, between our two steps


def _holder(process: int) -> str:
    return f"process {process} on {socket.gethostname()}, since {time.strftime('%H:%M:%S')}"


def _taken(folder: Path, holder: str) -> CompSRTError:
    return CompSRTError(
        f"another run writes to {folder} ({holder or 'it has just begun'})",
        hint="wait for its end, stop it, or take another name: --force_yml name=NAME",
    )


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
