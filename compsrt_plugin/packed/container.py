"""Read and write a safetensors file of a few one-dimensional parts, with a checksum over all of it.

    8 bytes     length n of the head, little-endian
    n bytes     JSON: __metadata__ (strings), then per part its type, length and place; padded with spaces
    the rest    the parts, one after the other, without gaps

Any safetensors reader opens the file. The head has one canonical form, and `__metadata__.sha256` covers every byte of
the file, with its own 64 digits replaced by `0`.

This module does not use the safetensors library to write. The library does not keep the order of metadata, so the same
network would give a different file each time, and it accepts heads of up to 100 MB. One JSON entry in the metadata, as
teacher files have, would fix the order but not the checksum, whose place must be known.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import strict_json
from compsrt_plugin.packed.inputs import HEAD_BYTES, WEIGHT_KINDS, FileKind, file_kind, open_input

FORMAT = "compsrt-packed"
VERSION = "3"
READABLE = ("1", "2", "3")
MAX_HEAD = 1 << 20  # bytes
EXPECTED_PACKED = "a packed checkpoint as written by `basicsr train`"
ITEM_BYTES = {"U8": 1, "F16": 2, "F32": 4, "I64": 8}
_UNSEALED = "0" * 64
_AGAIN = "copy or download it again, or make it again with `basicsr train`"


@dataclass(frozen=True)
class FilePart:
    """A one-dimensional part of the file: its safetensors dtype (a key of `ITEM_BYTES`) and its bytes."""

    stored: str
    data: bytes


@dataclass(frozen=True)
class Container:
    """The contents of a file: metadata, parts by name, size in bytes, and SHA-256 of the file."""

    metadata: dict[str, str]
    parts: dict[str, FilePart]
    bytes: int
    sha256: str


def assemble(parts: Mapping[str, FilePart], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a file with its checksum. The same parts and metadata give the same bytes.

    Args:
        parts: in their order in the file, wide dtypes first, so that they are aligned.
        metadata: without `format`, `version` and `sha256`, which this adds.

    Raises:
        ValueError: the head is larger than a reader accepts.
    """
    # The checksum comes first, so that its place is known without parsing.
    head: dict[str, Any] = {"__metadata__": {"sha256": _UNSEALED, "format": FORMAT, "version": VERSION, **metadata}}
    end = 0
    for name, part in parts.items():
        begin, end = end, end + len(part.data)
        head[name] = {
            "dtype": part.stored,
            "shape": [len(part.data) // ITEM_BYTES[part.stored]],
            "data_offsets": [begin, end],
        }
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEAD:
        raise ValueError(f"the header takes {len(text)} bytes, at most {MAX_HEAD} are allowed")
    start = len(text).to_bytes(8, "little") + text
    body = b"".join(part.data for part in parts.values())
    digest = hashlib.sha256(start + body).hexdigest()
    return start.replace(_UNSEALED.encode(), digest.encode(), 1) + body


def read_container(path: Path) -> Container:
    """Return the contents of a file that `assemble` made. Everything in it is checked.

    Only the head is read until it is known to match the file's size.

    Raises:
        CompSRTError: the file is missing, not a packed file, of an unknown version, truncated or changed.
    """
    with open_input(path, EXPECTED_PACKED) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            start = file.read(HEAD_BYTES)
            length = _head_length(path, start, size)
            start += file.read(max(0, 8 + length - len(start)))
            metadata, places, promised = _parse_head(path, start[8 : 8 + length])
            if size != 8 + length + promised:
                raise damaged(path, f"it has {size:,} bytes, its header says {8 + length + promised:,}")
            content = start + file.read(size - len(start))
        except OSError as error:
            raise CompSRTError(f"cannot read {path}: {error.strerror or error}", allowed=EXPECTED_PACKED) from error
    _check_seal(path, content, 8 + length, metadata["sha256"])
    parts = {
        name: FilePart(stored, content[8 + length + begin : 8 + length + end])
        for name, (stored, begin, end) in places.items()
    }
    return Container(metadata, parts, len(content), hashlib.sha256(content).hexdigest())


def is_packed(path: str | Path) -> bool:
    """Return whether a file is a packed checkpoint (even a damaged one). If not, it holds full-precision weights.

    Raises:
        CompSRTError: the file is missing, or neither of the two.
    """
    path = Path(path)
    with open_input(path, EXPECTED_PACKED) as file:
        start = file.read(HEAD_BYTES)
    kind = file_kind(start)
    if kind not in WEIGHT_KINDS:
        raise _foreign(path, kind)
    return kind is FileKind.SAFETENSORS and f'"format":"{FORMAT}"'.encode() in start


def damaged(path: str | Path, reason: object) -> CompSRTError:
    """Return the error for a damaged packed file; `reason` completes the sentence "it is damaged: …"."""
    return CompSRTError(f"{path} is damaged: {reason}", allowed=EXPECTED_PACKED, hint=_AGAIN)


def _foreign(path: Path, kind: FileKind) -> CompSRTError:
    hint = "quantize it with `basicsr train`" if kind in WEIGHT_KINDS else _AGAIN
    return CompSRTError(f"{path} is {kind.value}", allowed=EXPECTED_PACKED, hint=hint)


def _head_length(path: Path, start: bytes, size: int) -> int:
    kind = file_kind(start)
    if kind is not FileKind.SAFETENSORS:
        raise _foreign(path, kind)
    length = int.from_bytes(start[:8], "little")
    if length > MAX_HEAD:
        raise CompSRTError(
            f"{path} has a header of {length:,} bytes",
            allowed=f"{EXPECTED_PACKED}, its header up to {MAX_HEAD:,} bytes",
            hint=_AGAIN,
        )
    if size < 8 + length:
        raise damaged(path, f"it ends after {size:,} bytes, inside its header")
    return length


def _parse_head(path: Path, text: bytes) -> tuple[dict[str, str], dict[str, tuple[str, int, int]], int]:
    """Return the metadata, the (dtype, begin, end) of each part, and the bytes of all parts."""
    try:
        head = strict_json.load_strict(text)
    except ValueError as error:
        raise damaged(path, "its header is not JSON") from error
    metadata = head.pop("__metadata__", None) if isinstance(head, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise CompSRTError(
            f"{path} is a safetensors file of {len(head)} tensors, but not a packed checkpoint",
            allowed=EXPECTED_PACKED,
            hint="quantize it with `basicsr train`",
        )
    if not all(isinstance(value, str) for value in metadata.values()):
        raise damaged(path, "its metadata are not strings")
    # First, because everything else may differ in another version, even the checksum.
    if metadata.get("version") not in READABLE:
        raise CompSRTError(
            f"{path} is a packed checkpoint of version {metadata.get('version', '')[:20]!r}",
            allowed=f"versions {', '.join(READABLE)}",
            hint="install a newer compsrt_plugin",
        )
    if not re.fullmatch("[0-9a-f]{64}", metadata.get("sha256", "")):
        raise damaged(path, "its checksum is missing")
    places: dict[str, tuple[str, int, int]] = {}
    total = 0
    for name, place in head.items():
        end = _end_of(place, total)
        if end is None:
            raise damaged(path, f"its header has an inconsistent entry for the part {name[:40]!r}")
        places[name] = (place["dtype"], total, end)
        total = end
    return metadata, places, total


def _end_of(place: Any, begin: int) -> int | None:
    """Return the end of a part that must begin at `begin`, or None if its entry is inconsistent."""
    if not isinstance(place, dict) or set(place) != {"dtype", "shape", "data_offsets"}:
        return None
    stored, shape, offsets = place["dtype"], place["shape"], place["data_offsets"]
    if not isinstance(stored, str) or stored not in ITEM_BYTES:
        return None
    if not (isinstance(shape, list) and len(shape) == 1 and type(shape[0]) is int and shape[0] > 0):
        return None
    end = begin + shape[0] * ITEM_BYTES[stored]
    # In Python 1 == True == 1.0, but not in a file.
    plain = isinstance(offsets, list) and all(type(offset) is int for offset in offsets)
    return end if plain and offsets == [begin, end] else None


def _check_seal(path: Path, content: bytes, start: int, digest: str) -> None:
    head = content[:start]
    if head.count(digest.encode()) != 1:
        raise damaged(path, "it contains its checksum twice")
    unsealed = hashlib.sha256(head.replace(digest.encode(), _UNSEALED.encode()))
    unsealed.update(memoryview(content)[start:])
    if unsealed.hexdigest() != digest:
        raise damaged(path, "its contents do not match its checksum")
