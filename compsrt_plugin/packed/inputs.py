"""Open files that the user names, and determine their kind by their first bytes.

Extensions are not reliable: a `.pth` may be the web page that says "not found".
"""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import BinaryIO

import torch

from compsrt_plugin.errors import CompSRTError, nearest

HEAD_BYTES = 512


class FileKind(enum.Enum):
    """A kind of input file. The value completes the sentence "this file is …"."""

    SAFETENSORS = "a safetensors file"
    TORCH_ZIP = "a PyTorch file (.pth)"
    PICKLE = "a pickle (.pth, .pkl)"
    EMPTY = "empty"
    HTML = "a web page (HTML)"
    LFS_POINTER = "a Git LFS pointer, not the file it points to"
    IMAGE = "an image"
    NUMPY = "a NumPy array (.npy)"
    ONNX = "an ONNX graph"
    GGUF = "a GGUF file"
    HDF5 = "an HDF5 file (Keras)"
    ARCHIVE = "a compressed archive"
    TEXT = "a text file"
    UNKNOWN = "of an unknown kind"


WEIGHT_KINDS = (FileKind.SAFETENSORS, FileKind.TORCH_ZIP, FileKind.PICKLE)
SAFE_TORCH = (2, 6)  # in older versions, weights_only can be made to run code (CVE-2025-32434)
_BEGINNINGS = {
    FileKind.IMAGE: (b"\x89PNG", b"\xff\xd8\xff", b"GIF8"),
    FileKind.NUMPY: (b"\x93NUMPY",),
    FileKind.GGUF: (b"GGUF",),
    FileKind.HDF5: (b"\x89HDF",),
    FileKind.ARCHIVE: (b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"),
    FileKind.LFS_POINTER: (b"version https://git-lfs",),
}
_TAR = slice(257, 262)  # a tar archive has `ustar` here


def file_kind(head: bytes) -> FileKind:
    """Return the kind of a file that begins with `head`, its first `HEAD_BYTES` bytes (or all, if it is shorter).

    >>> file_kind(b"<!DOCTYPE html>").value
    'a web page (HTML)'
    """
    if not head:
        return FileKind.EMPTY
    # Eight bytes of length, of which the upper four are 0 for any header below 4 GiB, then JSON.
    if head[4:9] == b"\0\0\0\0{":
        return FileKind.SAFETENSORS
    if head.startswith(b"PK\x03\x04"):
        return FileKind.TORCH_ZIP
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return FileKind.PICKLE
    for kind, beginnings in _BEGINNINGS.items():
        if head.startswith(beginnings):
            return kind
    if head[_TAR] == b"ustar":
        return FileKind.ARCHIVE
    # Protocol buffers: field 1, the IR version, then field 2, the producer's name, or field 7, the graph.
    if head[:1] == b"\x08" and head[1:2] <= b"\x40" and head[2:3] in (b"\x12", b"\x3a"):
        return FileKind.ONNX
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")):
        return FileKind.HTML
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return FileKind.TEXT
    return FileKind.UNKNOWN


def check_torch(source: object) -> None:
    """Raise CompSRTError if `weights_only` of this torch version is not safe.

    Args:
        source: the file, for the message.
    """
    found = tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
    if found < SAFE_TORCH:
        wanted = ".".join(map(str, SAFE_TORCH))
        raise CompSRTError(
            f"{source} is a pickle, and torch {torch.__version__} may run code in it (CVE-2025-32434)",
            allowed=f"torch {wanted} or newer",
            hint=f"pip install 'torch>={wanted}', or give a .safetensors file",
        )


def open_input(path: Path, expected: str, if_missing: str = "check the path") -> BinaryIO:
    """Open a file that the user names.

    Args:
        path: the file.
        expected: what the file should be, for messages.
        if_missing: the next step if there is neither the file nor one with a similar name.

    Raises:
        CompSRTError: the file is missing (the nearest name is suggested), a folder or a device, or not readable.
    """
    try:
        if path.exists() and not path.is_file():
            raise CompSRTError(f"{path} is not a file", allowed=expected, hint="name the file itself")
        return open(path, "rb")
    except FileNotFoundError as error:
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        guess = nearest(path.name, names)
        hint = f"did you mean {path.parent / guess}?" if guess else if_missing
        raise CompSRTError(f"no such file: {path}", allowed=expected, hint=hint) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise CompSRTError(f"cannot read {path}: {reason}", allowed=expected, hint="check the path") from error
