"""Files the user names: opening them, and telling what they are by their first bytes.

Names and extensions are only claims: a `.pth` may be the web page that said "not found".
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import BinaryIO

from compsrt_plugin.errors import CompSRTError, nearest

HEAD_BYTES = 512


class FileKind(enum.Enum):
    """A kind of file people give us; the value completes the sentence "this file is …"."""

    SAFETENSORS = "a safetensors file"
    TORCH_ZIP = "a PyTorch file (.pth)"
    PICKLE = "a pickle (.pth, .pkl)"
    EMPTY = "empty"
    HTML = "a web page (HTML)"
    LFS_POINTER = "a Git LFS pointer, not the file it points to"
    PICTURE = "a picture"
    TEXT = "a text file"
    UNKNOWN = "of no kind we know"


WEIGHTS = (FileKind.SAFETENSORS, FileKind.TORCH_ZIP, FileKind.PICKLE)


def file_kind(head: bytes) -> FileKind:
    """Name the kind of file that begins with `head` (its first `HEAD_BYTES` bytes, fewer if it is shorter).

    >>> file_kind(b"<!DOCTYPE html>").value
    'a web page (HTML)'
    """
    if not head:
        return FileKind.EMPTY
    # Eight bytes of length, the upper four 0 in any header below 4 GiB, then JSON.
    if head[4:9] == b"\0\0\0\0{":
        return FileKind.SAFETENSORS
    if head.startswith(b"PK\x03\x04"):
        return FileKind.TORCH_ZIP
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return FileKind.PICKLE
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")):
        return FileKind.PICTURE
    if head.startswith(b"version https://git-lfs"):
        return FileKind.LFS_POINTER
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")):
        return FileKind.HTML
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return FileKind.TEXT
    return FileKind.UNKNOWN


def open_input(path: Path, expected: str) -> BinaryIO:
    """Open a file the user named.

    Args:
        path: where it should be.
        expected: what should be there, for the message.

    Raises:
        CompSRTError: no such file (the nearest name is offered), a folder or a device, not readable.
    """
    try:
        if path.exists() and not path.is_file():
            raise CompSRTError(f"{path} is no file", allowed=expected, hint="name the file itself")
        return open(path, "rb")
    except FileNotFoundError as error:
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        guess = nearest(path.name, names)
        hint = f"did you mean {path.parent / guess}?" if guess else "check the path"
        raise CompSRTError(f"no such file: {path}", allowed=expected, hint=hint) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise CompSRTError(f"cannot read {path}: {reason}", allowed=expected, hint="check it") from error
