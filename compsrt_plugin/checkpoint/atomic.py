"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from compsrt_plugin.errors import CompSRTError


@contextlib.contextmanager
def atomic_file(
    path: Path, hint: str = "free some space, or choose a folder that can be written"
) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name `path` only once it is complete and on the disk.

    The bytes go to a hidden neighbour first (same folder, so that the last step is a rename). If the body
    raises, the neighbour is removed and whatever was at `path` stays as it was. Missing folders are made.

    Args:
        path: of the file.
        hint: the next step for a user whose disk refuses.

    Raises:
        CompSRTError: the folder cannot be written, the disk is full, `path` is a folder.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise CompSRTError(f"cannot write {path}: {error.strerror or error}", hint=hint) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
