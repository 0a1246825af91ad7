"""Read and write packed checkpoints: a frozen quantized network at its true code width, in one file.

A `state_dict` of about 1,900 mostly tiny tensors becomes one blob per kind of tensor (`layout.STORED_KINDS`), which
holds all tensors of that kind one after the other, and a compressed table of names and shapes:

    int64, float32, float16    numbers as they are
    uint8, codes1 … codes8     other bytes; integer codes, without those that a mask removes (`TensorEntry.mask`)
    bool, rows, columns        masks: one bit per element, per row, per column
    header                     JSON that describes the network, compressed by zlib
    layout                     the table (`layout.pack_layout`)

The file is a safetensors file with a checksum (`container`). `coding` encodes the blobs; the name of a compressed blob
ends in `/lzma`. The metadata also hold `coding`, `lzma`. The header is a blob, because readers such as spandrel drop
the metadata; version 2 has it there, uncompressed. Version 1 has the coding `raw`: no compression, no masks as above.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed import strict_json
from compsrt_plugin.packed.coding import COMPRESSED, decode_part, encode_part
from compsrt_plugin.packed.container import (
    FORMAT,
    MAX_HEAD,
    VERSION,
    Container,
    FilePart,
    assemble,
    damaged,
    read_container,
)
from compsrt_plugin.packed.inflate import inflate
from compsrt_plugin.packed.layout import STORED_KINDS, TensorEntry, pack_layout, sibling, unpack_layout

CODINGS = {"1": "raw", "2": "lzma", "3": "lzma"}  # by version
MAX_EXPANSION = 64  # largest bytes of tensors per byte of file; below 10 unless nearly everything is pruned
ALWAYS_ALLOWED = 1 << 16  # bytes of tensors that a file of any size may hold
_METADATA = {"format", "version", "coding"}
_NEWEST = {"coding": CODINGS[VERSION]}  # metadata of the files that are written
_TABLES = ("header", "layout")  # parts that are no tensors, last in the file


@dataclass(frozen=True)
class Packed:
    """The contents of a packed checkpoint.

    Attributes:
        state: the state dict as it was written, bit for bit and in its order, on the CPU. Tensors of one kind share one
            buffer, because copying each takes half as long as everything else. Clone a tensor that must outlive the
            others.
        code_bits: bits per element of each uint8 tensor that holds codes.
        header: `arch`, `spec` and `provenance`, as written.
        bytes: size of the file.
        part_bytes: bytes of each kind of tensor, of the `header` and of the `layout`. The rest is the head.
        sha256: SHA-256 of the file, as `sha256sum` prints it.
    """

    state: dict[str, torch.Tensor]
    code_bits: dict[str, int]
    header: dict[str, Any]
    bytes: int
    part_bytes: dict[str, int]
    sha256: str


def write_packed(
    path: str | Path,
    state: Mapping[str, torch.Tensor],
    code_bits: Mapping[str, int],
    header: Mapping[str, Any],
    masks: Mapping[str, str] | None = None,
) -> int:
    """Write the state of a network and return the bytes on disk. The same arguments give the same file.

    The file is complete or absent; see `files.atomic_file`.

    Args:
        path: the file. Missing folders are created.
        state: uint8, bool, float16, float32 or int64 tensors of any shape, on any device.
        code_bits: name -> bits of the uint8 tensors of `state` whose values are below 2^bits. They take `bits` bits per
            element, all other uint8 tensors 8.
        header: JSON values. Tuples are read back as lists.
        masks: name of codes -> name of their boolean mask, of the same shape and in the same module. Codes must be 0
            where the mask is False, and are stored only where it is True.

    Returns:
        Bytes on disk.

    Raises:
        CompSRTError: the file cannot be written.
        TypeError, ValueError: an argument cannot be stored. The message names it.
    """
    path = Path(path)
    for name in code_bits:
        if name not in state:
            raise ValueError(f"code_bits names {name!r}, which the state does not hold")
    entries = [
        TensorEntry(name, _kind_of(name, tensor, code_bits.get(name)), tuple(tensor.shape))
        for name, tensor in state.items()
    ]
    text = strict_json.dump(dict(header)).encode()
    if len(text) > MAX_HEAD:
        raise ValueError(f"the header takes {len(text)} bytes, at most {MAX_HEAD} are allowed")
    about = FilePart("U8", zlib.compress(text, 9))
    structured = [_structured(entry, state, masks or {}) for entry in entries]
    content = assemble(_parts(structured, state, about), _NEWEST)
    if not _explains(len(content), structured):
        content = assemble(_parts(entries, state, about, compress=False), _NEWEST)
    write_whole(path, content)
    return len(content)


def read_packed(path: str | Path) -> Packed:
    """Return the contents of a packed checkpoint. Every length, shape, width and checksum is checked before use.

    The memory is proportional to the file: at most `MAX_EXPANSION` bytes for each of its bytes.

    Raises:
        CompSRTError: the file is missing, not a packed file, of an unknown version, truncated or changed.
    """
    container = read_container(Path(path))
    return _contents(container, str(path))


def are_packed(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Return whether tensors with these names are the parts of a packed file, of any version."""
    return "layout" in tensors and all(_kind(name) in STORED_KINDS or name in _TABLES for name in tensors)


def packed_from_tensors(tensors: Mapping[str, torch.Tensor], source: str) -> Packed:
    """Return the contents of a packed file from its tensors alone, as safetensors' `load_file` returns them.

    The checksum, which is not among the tensors, cannot be checked. Everything else is, as by `read_packed`.

    Args:
        tensors: the parts of the file by name, in any order, on any device.
        source: what the tensors were read from, for messages.

    Raises:
        CompSRTError: the tensors are not those of a packed file, damaged, or of a file older than version 3.
    """
    if not tensors.keys() >= set(_TABLES):
        raise CompSRTError(
            f"{source} has no tensor {next(name for name in _TABLES if name not in tensors)!r}",
            allowed=f"a packed checkpoint of version {VERSION}",
            hint="write an older file again: basicsr export OLD.safetensors --out NEW.safetensors",
        )
    stored = {kind.dtype: kind.stored for kind in STORED_KINDS.values() if kind.dtype is not torch.bool}
    order = {name: place for place, name in enumerate([*STORED_KINDS, *_TABLES])}
    parts = {}
    for name in sorted(tensors, key=lambda name: order.get(_kind(name), -1)):
        tensor = tensors[name].detach().cpu()
        if tensor.ndim != 1 or tensor.dtype not in stored:
            raise damaged(source, f"its part {name[:40]!r} is a {tensor.dtype} of {tensor.ndim} axes")
        parts[name] = FilePart(stored[tensor.dtype], tensor.contiguous().numpy().tobytes())
    content = assemble(parts, _NEWEST)  # the very file, since it has one form only
    metadata = {**_NEWEST, "format": FORMAT, "version": VERSION}
    return _contents(Container(metadata, parts, len(content), hashlib.sha256(content).hexdigest()), source)


def _contents(container: Container, source: str) -> Packed:
    _check_metadata(source, container.metadata)
    try:
        header = strict_json.load_strict(_header_text(container))
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
        entries = _entries(container)
        state = _decode_all(container, entries)
    except ValueError as error:
        raise damaged(source, error) from error
    code_bits = {e.name: STORED_KINDS[e.kind].bits for e in entries if e.kind.startswith("codes")}
    part_bytes = {_kind(name): len(part.data) for name, part in container.parts.items()}
    return Packed(state, code_bits, header, container.bytes, part_bytes, container.sha256)


def _header_text(container: Container) -> str:
    if not _has_header_part(container.metadata):
        return container.metadata["header"]
    if "header" not in container.parts:
        raise ValueError("it has no header")
    return inflate(container.parts["header"].data, MAX_HEAD, "its header")


def _has_header_part(metadata: Mapping[str, str]) -> bool:
    """Return whether a file of this version holds its header as a part, not in its metadata."""
    return metadata["version"] not in ("1", "2")


def _kind_of(name: str, tensor: torch.Tensor, bits: int | None) -> str:
    if bits is None:
        for kind, stored in STORED_KINDS.items():
            if stored.dtype == tensor.dtype and not kind.startswith("codes"):
                return kind
        raise ValueError(f"tensor {name!r} is {tensor.dtype}, which a packed checkpoint cannot hold")
    if tensor.dtype != torch.uint8 or not 1 <= bits <= 8:
        raise ValueError(f"tensor {name!r} is {tensor.dtype} at {bits} bits, expected torch.uint8 at 1 to 8")
    if tensor.numel() and int(tensor.max()) >= 1 << bits:
        raise ValueError(f"tensor {name!r} holds {int(tensor.max())}, which does not fit in {bits} bits")
    return f"codes{bits}"


def _structured(entry: TensorEntry, state: Mapping[str, torch.Tensor], masks: Mapping[str, str]) -> TensorEntry:
    """Return the entry with its shortest kind: a mask of whole rows or columns, codes without the masked ones."""
    tensor = state[entry.name]
    if entry.kind == "bool" and tensor.ndim == 2 and entry.elements:
        if torch.equal(tensor, tensor[:, :1].expand_as(tensor)):
            return entry._replace(kind="rows")
        if torch.equal(tensor, tensor[:1].expand_as(tensor)):
            return entry._replace(kind="columns")
    if entry.name not in masks:
        return entry
    name = masks[entry.name]
    mask = state.get(name)
    last = name.split(".")[-1]
    if mask is None or mask.dtype != torch.bool or mask.shape != tensor.shape or sibling(entry.name, last) != name:
        raise ValueError(f"the mask {name!r} is not a boolean tensor of the module and shape of {entry.name!r}")
    if tensor[~mask].any():
        raise ValueError(f"tensor {entry.name!r} holds codes where its mask is False")
    return entry._replace(mask=last)


def _parts(
    entries: list[TensorEntry], state: Mapping[str, torch.Tensor], header: FilePart, compress: bool = True
) -> dict[str, FilePart]:
    parts: dict[str, FilePart] = {}
    for kind in STORED_KINDS:
        members = [entry for entry in entries if entry.kind == kind and entry.elements]
        if members:
            values = torch.cat([_stored(entry, state).detach().cpu().reshape(-1) for entry in members])
            data, compressed = encode_part(kind, values, compress) if len(values) else (b"", False)
            if data:
                name = kind + COMPRESSED if compressed else kind
                parts[name] = FilePart("U8" if compressed else STORED_KINDS[kind].stored, data)
    return {**parts, "header": header, "layout": FilePart("U8", pack_layout(entries))}


def _stored(entry: TensorEntry, state: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the elements of a tensor that the file holds."""
    tensor = state[entry.name]
    if entry.kind == "rows":
        return tensor[:, 0]
    if entry.kind == "columns":
        return tensor[0]
    return tensor[state[entry.mask_name]] if entry.mask else tensor


def _explains(size: int, entries: list[TensorEntry]) -> bool:
    """Return whether a file of `size` bytes may expand to these tensors."""
    needed = sum(entry.elements * STORED_KINDS[entry.kind].dtype.itemsize for entry in entries)
    return needed <= ALWAYS_ALLOWED + MAX_EXPANSION * size


def _kind(part: str) -> str:
    return part[: -len(COMPRESSED)] if part.endswith(COMPRESSED) else part


def _entries(container: Container) -> list[TensorEntry]:
    """Return the table, checked against the parts of the file."""
    if "layout" not in container.parts:
        raise ValueError("it has no table of tensors")
    entries = unpack_layout(container.parts["layout"].data)
    tables = _TABLES if _has_header_part(container.metadata) else _TABLES[1:]
    seen = set()
    for name, part in container.parts.items():
        kind = _kind(name)
        known = kind in STORED_KINDS or name in tables
        expected = "U8" if name in tables or kind != name else STORED_KINDS[kind].stored if known else None
        if part.stored != expected or not known or kind in seen:
            raise ValueError(f"its part {name[:40]!r} is unknown, duplicate, or of the wrong type {part.stored}")
        seen.add(kind)
    if not _explains(container.bytes, entries):
        raise ValueError("its table names more tensors than the file can hold")
    return entries


def _decode_all(container: Container, entries: list[TensorEntry]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    # Masks first: they determine the number of codes.
    for kind in sorted(STORED_KINDS, key=lambda kind: STORED_KINDS[kind].dtype is not torch.bool):
        members = [entry for entry in entries if entry.kind == kind]
        counts = [_count(entry, found) for entry in members]
        name = kind + COMPRESSED if kind + COMPRESSED in container.parts else kind
        data = container.parts[name].data if name in container.parts else b""
        pieces = decode_part(kind, data, sum(counts), name != kind).split(counts) if members or data else ()
        for entry, piece in zip(members, pieces):
            found[entry.name] = _unfold(entry, piece, found)
    return {entry.name: found[entry.name] for entry in entries}


def _count(entry: TensorEntry, found: Mapping[str, torch.Tensor]) -> int:
    """Return the number of elements of a tensor that the file holds."""
    if entry.kind in ("rows", "columns"):
        return entry.shape[0 if entry.kind == "rows" else 1]
    return int(found[entry.mask_name].sum()) if entry.mask else entry.elements


def _unfold(entry: TensorEntry, piece: torch.Tensor, found: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if entry.kind == "rows":
        return piece[:, None].expand(entry.shape).clone()
    if entry.kind == "columns":
        return piece.expand(entry.shape).clone()
    if entry.mask:
        return piece.new_zeros(entry.shape).masked_scatter_(found[entry.mask_name], piece)
    return piece.reshape(entry.shape)


def _check_metadata(source: str, metadata: dict[str, str]) -> None:
    coding, allowed = metadata.get("coding"), CODINGS[metadata["version"]]
    if coding != allowed:
        raise CompSRTError(
            f"{source} has codes compressed as {str(coding)[:20]!r}",
            allowed=repr(allowed),
            hint="install a newer compsrt_plugin",
        )
    if metadata.keys() - {"sha256"} != _METADATA | (set() if _has_header_part(metadata) else {"header"}):
        raise damaged(source, "its metadata are incomplete or have keys that this version does not know")
