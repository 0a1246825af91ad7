"""Read and write the table of tensors, which replaces a JSON entry per tensor.

The table has one line per tensor, in the order of the state dict: `SHARED KIND SHAPE REST`, for example

    0 codes3 60x60 layers.0.blocks.0.attn.proj.weight
    6 float32 60 bias

SHARED is the number of dotted parts of the name that are taken from the line before, and REST is what follows them. All
blocks of a network give the same lines, which zlib compresses to almost nothing. A tensor without axes has the shape
`-`. Offsets are not stored: the tensors of one kind follow one another.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from compsrt_plugin.packed.inflate import inflate

MAX_TEXT = 4 << 20  # bytes of the table once decompressed
MAX_TENSORS = 1 << 15
MAX_NAME = 256  # characters; together with MAX_TENSORS it bounds the size of the unpacked names
MAX_AXES = 8
MAX_ELEMENTS = 1 << 31  # per tensor; empty axes count as 1, so that strides are bounded too

_SHAPE = re.compile("-|[0-9]{1,10}(x[0-9]{1,10})*")
_MASK = re.compile("[A-Za-z_]{1,40}")
_SHARED = {str(count): count for count in range(MAX_NAME)}


@dataclass(frozen=True)
class StoredKind:
    """How tensors of one kind are stored: `bits` per element in a blob of the safetensors dtype `stored`."""

    dtype: torch.dtype
    stored: str
    bits: int


# The order of the blobs in the file, wide to narrow: each begins at a multiple of its element size.
STORED_KINDS: dict[str, StoredKind] = {
    "int64": StoredKind(torch.int64, "I64", 64),
    "float32": StoredKind(torch.float32, "F32", 32),
    "float16": StoredKind(torch.float16, "F16", 16),
    "uint8": StoredKind(torch.uint8, "U8", 8),
    **{f"codes{bits}": StoredKind(torch.uint8, "U8", bits) for bits in range(8, 0, -1)},
    "bool": StoredKind(torch.bool, "U8", 1),
    "rows": StoredKind(torch.bool, "U8", 1),
    "columns": StoredKind(torch.bool, "U8", 1),
}


class TensorEntry(NamedTuple):
    """One tensor of the table.

    Attributes:
        name: dotted name.
        kind: a key of `STORED_KINDS`.
        shape: the sizes of its axes.
        mask: for codes, the last part of the name of the mask that selects the stored ones; empty if all are stored.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    mask: str = ""

    @property
    def elements(self) -> int:
        """Number of elements of the tensor."""
        return math.prod(self.shape)

    @property
    def mask_name(self) -> str:
        """Dotted name of the mask."""
        return sibling(self.name, self.mask)


def sibling(name: str, last: str) -> str:
    """Return `name` with its last dotted part replaced.

    >>> sibling("mlp.fc1.weight_codes", "weight_mask")
    'mlp.fc1.weight_mask'
    """
    return ".".join([*name.split(".")[:-1], last])


def pack_layout(entries: Iterable[TensorEntry]) -> bytes:
    """Return the compressed table.

    Raises:
        ValueError: the reader would refuse a name or a shape.
    """
    lines, before = [], []
    for entry in entries:
        _check_name(entry.name)
        _check_type(entry.kind, entry.shape)
        parts = entry.name.split(".")
        shared = 0
        # The last part always stays in REST, so that REST is never empty.
        while shared < min(len(parts) - 1, len(before)) and parts[shared] == before[shared]:
            shared += 1
        shape = "x".join(map(str, entry.shape)) or "-"
        kind = f"{entry.kind}/{entry.mask}" if entry.mask else entry.kind
        lines.append(f"{shared} {kind} {shape} {'.'.join(parts[shared:])}")
        before = parts
    if len(lines) > MAX_TENSORS:
        raise ValueError(f"{len(lines)} tensors, at most {MAX_TENSORS} are allowed")
    text = "\n".join(lines).encode()
    if len(text) > MAX_TEXT:
        raise ValueError(f"a table of {len(text)} bytes, at most {MAX_TEXT} are allowed")
    return zlib.compress(text, 9)


def unpack_layout(data: bytes) -> list[TensorEntry]:
    """Return the entries of a table. Everything in it is checked.

    Raises:
        ValueError: the table is invalid. The message completes the sentence "the file is damaged: …".
    """
    text = inflate(data, MAX_TEXT, "its table")
    if text.count("\n") >= MAX_TENSORS:
        raise ValueError(f"its table has more than {MAX_TENSORS} tensors")
    entries: list[TensorEntry] = []
    before: list[str] = []
    shapes: dict[tuple[str, str], tuple[int, ...]] = {}  # few differ, so each is parsed once
    for number, line in enumerate(text.split("\n") if text else [], 1):
        fields = line.split(" ", 3)
        shared = _SHARED.get(fields[0], MAX_NAME)
        if len(fields) != 4 or shared > len(before):
            raise ValueError(f"line {number} of its table is malformed")
        marked, written, rest = fields[1:]
        kind, slash, mask = marked.partition("/")
        if slash and (not _MASK.fullmatch(mask) or not kind.startswith("codes")):
            raise ValueError(f"its table has tensors of the unknown kind {marked[:40]!r}")
        if (kind, written) not in shapes:
            shapes[kind, written] = _read_shape(kind, written)
        before = before[:shared] + rest.split(".")
        name = ".".join(before)
        _check_name(name)
        entries.append(TensorEntry(name, kind, shapes[kind, written], mask))
    by_name = {entry.name: entry for entry in entries}
    if len(by_name) != len(entries):
        raise ValueError("its table names a tensor twice")
    for entry in entries:
        if entry.mask:
            _check_mask(entry, by_name.get(entry.mask_name))
    return entries


def _check_mask(codes: TensorEntry, mask: TensorEntry | None) -> None:
    if mask is None or STORED_KINDS[mask.kind].dtype is not torch.bool or mask.shape != codes.shape:
        raise ValueError(f"its table has codes without their mask, or with a mask of another shape: {codes.name[:80]}")


def _read_shape(kind: str, written: str) -> tuple[int, ...]:
    if not _SHAPE.fullmatch(written):
        raise ValueError(f"its table has the shape {written[:40]!r}")
    shape = () if written == "-" else tuple(map(int, written.split("x")))
    _check_type(kind, shape)
    return shape


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME or "\n" in name or name.endswith("."):
        raise ValueError(f"the tensor name {name[:80]!r} is empty, too long, multi-line or ends in a dot")


def _check_type(kind: str, shape: tuple[int, ...]) -> None:
    if kind not in STORED_KINDS:
        raise ValueError(f"its table has tensors of the unknown kind {kind[:20]!r}")
    if kind in ("rows", "columns") and len(shape) != 2:
        raise ValueError(f"its table has {kind} of a tensor of {len(shape)} axes")
    if len(shape) > MAX_AXES or math.prod(max(n, 1) for n in shape) > MAX_ELEMENTS:
        raise ValueError(f"its table has a tensor of the impossible shape {'x'.join(map(str, shape))[:80]}")
