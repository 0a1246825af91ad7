"""The packed checkpoint: a frozen quantized network at its true bits, in one file.

A `state_dict` of some 1,900 mostly tiny tensors becomes one blob per kind of tensor (`layout.KINDS`), each
holding all tensors of that kind one after the other, and a compressed table of names and shapes:

    int64, float32, float16    as they are
    codes1 … codes8            integer codes, bit-packed over tensor borders (`bits.pack_bits`)
    uint8, bool                other bytes; masks at one bit per element
    layout                     the table (`layout.pack_layout`)

in a sealed safetensors file (`container`). Its metadata hold besides `coding` (how codes are compressed: `raw`
is the only way so far) and `header` (JSON: what the network is).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compsrt_plugin.checkpoint import strict_json
from compsrt_plugin.checkpoint.bits import pack_bits, packed_size, unpack_bits
from compsrt_plugin.checkpoint.container import Container, Part, assemble, damaged, read_container
from compsrt_plugin.checkpoint.layout import KINDS, Entry, pack_layout, unpack_layout
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole

CODING = "raw"
_METADATA = {"sha256", "format", "version", "coding", "header"}


@dataclass(frozen=True)
class Packed:
    """The contents of a packed checkpoint.

    Attributes:
        state: the state dict as it was written, bit for bit and in its order, on the CPU. Tensors of one
            kind are neighbours in one buffer (a copy of each would take half as long as all the rest): clone
            the one that is to outlive the others.
        code_bits: bits per element of each uint8 tensor that holds codes.
        header: what was written with it: `arch`, `spec`, `provenance`.
        bytes: size of the file.
        sha256: of the file, as `sha256sum` prints it.
    """

    state: dict[str, torch.Tensor]
    code_bits: dict[str, int]
    header: dict[str, Any]
    bytes: int
    sha256: str


def write_packed(
    path: str | Path,
    state: Mapping[str, torch.Tensor],
    code_bits: Mapping[str, int],
    header: Mapping[str, Any],
) -> int:
    """Write a network's state at its true size; same arguments, same bytes.

    The file appears whole or not at all, see `files.atomic_file`.

    Args:
        path: of the file; missing folders are made.
        state: uint8, bool, float16, float32 or int64 tensors of any shape, on any device.
        code_bits: names uint8 tensors of `state` whose values are below 2^bits; they take `bits` bits per
            element. uint8 tensors not named take 8.
        header: JSON values; tuples come back as lists.

    Returns:
        Bytes on disk.

    Raises:
        CompSRTError: the file cannot be written.
        TypeError, ValueError: what is given cannot be stored; the message names it.
    """
    path = Path(path)
    for name in code_bits:
        if name not in state:
            raise ValueError(f"code_bits names {name!r}, which the state does not hold")
    entries = [
        Entry(name, _kind_of(name, tensor, code_bits.get(name)), tuple(tensor.shape)) for name, tensor in state.items()
    ]
    parts: dict[str, Part] = {}
    for kind in KINDS:
        tensors = [state[entry.name] for entry in entries if entry.kind == kind and entry.elements]
        if tensors:
            parts[kind] = Part(KINDS[kind].stored, _encode(kind, tensors))
    parts["layout"] = Part("U8", pack_layout(entries))
    metadata = {"coding": CODING, "header": strict_json.dump(dict(header))}
    content = assemble(parts, metadata)
    write_whole(path, content)
    return len(content)


def read_packed(path: str | Path) -> Packed:
    """Read a packed checkpoint; every length, shape, width and checksum is checked before it is used.

    Memory stays in proportion to the file: at most one byte for each bit in it.

    Raises:
        CompSRTError: not there, something else, of an unknown version, cut off or changed.
    """
    path = Path(path)
    container = read_container(path)
    _check_metadata(path, container.metadata)
    try:
        header = strict_json.load(container.metadata["header"])
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        entries = _entries(container)
        state = _decode_all(container, entries)
    except ValueError as error:
        raise damaged(path, error) from error
    code_bits = {e.name: KINDS[e.kind].bits for e in entries if e.kind.startswith("codes")}
    return Packed(state, code_bits, header, container.bytes, container.sha256)


def _kind_of(name: str, tensor: torch.Tensor, bits: int | None) -> str:
    if bits is None:
        for kind, stored in KINDS.items():
            if stored.dtype == tensor.dtype and not kind.startswith("codes"):
                return kind
        raise ValueError(f"tensor {name!r} is {tensor.dtype}, which a packed checkpoint cannot hold")
    if tensor.dtype != torch.uint8 or not 1 <= bits <= 8:
        raise ValueError(f"tensor {name!r} is {tensor.dtype} at {bits} bits, expected torch.uint8 at 1 to 8")
    if tensor.numel() and int(tensor.max()) >= 1 << bits:
        raise ValueError(f"tensor {name!r} holds {int(tensor.max())}, which does not fit in {bits} bits")
    return f"codes{bits}"


def _encode(kind: str, tensors: list[torch.Tensor]) -> bytes:
    """Return the blob of all tensors of one kind."""
    values = torch.cat([tensor.detach().cpu().reshape(-1) for tensor in tensors])
    if KINDS[kind].bits <= 8:
        values = pack_bits(values.to(torch.uint8), KINDS[kind].bits)
    # Through integers of one byte: NaNs keep their payload.
    return values.view(torch.uint8).numpy().tobytes()


def _decode(kind: str, data: bytes, count: int) -> torch.Tensor:
    """Return the `count` elements of a blob, one axis. `ValueError` where they cannot be its contents."""
    stored = KINDS[kind]
    needed = packed_size(count, stored.bits)
    if len(data) != needed:
        raise ValueError(f"its part {kind} has {len(data):,} bytes where its table needs {needed:,}")
    if not data:
        return torch.empty(0, dtype=stored.dtype)
    # A bytearray, because the tensors made from it must be writable.
    raw = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    if stored.bits > 8:
        return raw.view(stored.dtype)
    return unpack_bits(raw, stored.bits, count).to(stored.dtype)


def _entries(container: Container) -> list[Entry]:
    """Return the table, checked against the parts that are there."""
    if "layout" not in container.parts:
        raise ValueError("it has no table of tensors")
    entries = unpack_layout(container.parts["layout"].data)
    for name, part in container.parts.items():
        expected = "U8" if name == "layout" else KINDS[name].stored if name in KINDS else None
        if part.stored != expected:
            raise ValueError(f"its part {name[:40]!r} is unknown, or of the wrong type {part.stored}")
    return entries


def _decode_all(container: Container, entries: list[Entry]) -> dict[str, torch.Tensor]:
    by_kind: dict[str, list[Entry]] = {kind: [] for kind in KINDS}
    for entry in entries:
        by_kind[entry.kind].append(entry)
    found: dict[str, torch.Tensor] = {}
    for kind, members in by_kind.items():
        counts = [entry.elements for entry in members]
        data = container.parts[kind].data if kind in container.parts else b""
        pieces = _decode(kind, data, sum(counts)).split(counts) if members or data else ()
        for entry, piece in zip(members, pieces):
            found[entry.name] = piece.reshape(entry.shape)
    return {entry.name: found[entry.name] for entry in entries}


def _check_metadata(path: Path, metadata: dict[str, str]) -> None:
    coding = metadata.get("coding")
    if coding != CODING:
        raise CompSRTError(
            f"{path} has codes compressed as {str(coding)[:20]!r}",
            allowed=repr(CODING),
            hint="install a newer compsrt_plugin",
        )
    if set(metadata) != _METADATA:
        raise damaged(path, "its metadata are incomplete, or more than this version knows")
