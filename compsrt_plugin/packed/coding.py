"""Encode the tensors of one kind as bytes: packed at their true width, or compressed without loss.

A compressed part is a raw LZMA2 stream (Python's `lzma`) of symbols that do not cross byte boundaries, so that the
adaptive model sees whole codes. A byte holds as many codes as fit (four of 2 bits, two of 3 or 4). Wider numbers are
stored plane by plane, all lowest bytes first. The codes of a network take at most 2 % more than an ideal coder with one
table per tensor. `docs/notes/packed_file.md` compares the methods that were measured.
"""

from __future__ import annotations

import lzma
from typing import Any

import numpy as np
import torch

from compsrt_plugin.packed.bits import pack_bits, packed_size, unpack_bits
from compsrt_plugin.packed.layout import STORED_KINDS

COMPRESSED = "/lzma"  # suffix of the name of a compressed part
# No context bits: neighbouring codes are independent (measured). The reader allocates the dictionary.
FILTERS: list[dict[str, Any]] = [
    {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}
]


def encode_part(kind: str, values: torch.Tensor, compress: bool = True) -> tuple[bytes, bool]:
    """Return the bytes of a part, and whether they are compressed. The shorter form is chosen.

    Args:
        kind: a key of `STORED_KINDS`.
        values: its elements: one axis, on the CPU, not empty.
        compress: whether compression is allowed.
    """
    bits = STORED_KINDS[kind].bits
    if bits <= 8:
        values = values.to(torch.uint8)
        plain = pack_bits(values, bits).numpy().tobytes()
        symbols = _symbols(values.numpy(), bits)
    else:
        # As bytes, so that NaNs keep their payload.
        raw = values.view(torch.uint8).numpy()
        plain = raw.tobytes()
        symbols = raw.reshape(-1, bits // 8).T
    if not compress:
        return plain, False
    packed = lzma.compress(symbols.tobytes(), lzma.FORMAT_RAW, filters=FILTERS)
    return (packed, True) if len(packed) < len(plain) else (plain, False)


def decode_part(kind: str, data: bytes, count: int, compressed: bool) -> torch.Tensor:
    """Return the `count` elements of a part as a tensor of one axis.

    Raises:
        ValueError: the data are invalid. The message completes the sentence "the file is damaged: …".
    """
    bits, dtype = STORED_KINDS[kind].bits, STORED_KINDS[kind].dtype
    if not compressed:
        needed = packed_size(count, bits)
        if len(data) != needed:
            raise ValueError(f"its part {kind} has {len(data):,} bytes where its table needs {needed:,}")
        if not count:
            return torch.empty(0, dtype=dtype, device="cpu")
        # A bytearray, because the tensors must be writable.
        raw = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return raw.view(dtype) if bits > 8 else unpack_bits(raw, bits, count).to(dtype)
    if bits <= 8:
        per_byte = 8 // bits
        symbols = np.frombuffer(_decompress(kind, data, -(-count // per_byte)), np.uint8)
        return torch.from_numpy(_codes(symbols, bits, count)).to(dtype)
    planes = np.frombuffer(_decompress(kind, data, count * bits // 8), np.uint8).reshape(bits // 8, count)
    return torch.from_numpy(np.ascontiguousarray(planes.T).reshape(-1)).view(dtype)


def _symbols(codes: np.ndarray, bits: int) -> np.ndarray:
    per_byte = 8 // bits
    groups = np.zeros((-(-codes.size // per_byte), per_byte), np.uint8)
    groups.reshape(-1)[: codes.size] = codes
    symbols = np.zeros(len(groups), np.uint8)
    for i in range(per_byte):
        symbols |= groups[:, i] << np.uint8(i * bits)
    return symbols


def _codes(symbols: np.ndarray, bits: int, count: int) -> np.ndarray:
    per_byte = 8 // bits
    codes = np.empty((len(symbols), per_byte), np.uint8)
    for i in range(per_byte):
        codes[:, i] = (symbols >> np.uint8(i * bits)) & np.uint8((1 << bits) - 1)
    codes = codes.reshape(-1)
    if codes[count:].any() or int(symbols.max()) >> (per_byte * bits):
        raise ValueError("bits between its codes are not 0")
    return codes[:count]


def _decompress(kind: str, data: bytes, size: int) -> bytes:
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS)
    try:
        found = unpacker.decompress(data, size + 1)  # never more than the table specifies
    except lzma.LZMAError:
        raise ValueError(f"its part {kind} cannot be decompressed") from None
    if len(found) != size or not unpacker.eof or unpacker.unused_data or not size:
        raise ValueError(f"its part {kind} does not decompress to the {size:,} bytes that its table needs")
    return found
