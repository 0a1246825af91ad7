"""Files that are either whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import os
from pathlib import Path

from compsrt_plugin.errors import CompSRTError


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path`, making its folder where needed.

    A reader sees the old file or the new one, never a part; a failed write leaves the old file as it was.

    Raises:
        CompSRTError: the folder or the file cannot be written.
    """
    target = Path(path)
    # A plain open, not tempfile: the file then gets the permissions of the user's umask, not 0600.
    # The temporary name is short whatever the target's, so that it never outgrows the file system's limit.
    part = target.with_name(f".part-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CompSRTError(
            f"cannot write {target}: {error.strerror or error}",
            hint="choose a folder you may write to, with space left",
        ) from error
