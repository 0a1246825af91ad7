"""Pack integer codes into a dense stream of bits, and unpack them."""

from __future__ import annotations

import numpy as np
import torch


def packed_size(count: int, bits: int) -> int:
    """Return the number of bytes of `count` values of `bits` bits: count·bits / 8, rounded up.

    >>> packed_size(3, 3)
    2
    """
    return -(-count * bits // 8)


def pack_bits(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Return codes as a stream of bits without gaps, lowest bit first.

    Eight codes of n bits take exactly n bytes. They are combined in one 64-bit word w = Σ_i code_i · 2^(i·n), whose
    lowest n bytes are the output. Unused bits of the last byte are 0.

    Args:
        codes: uint8 of any shape, every value < 2^bits, in row-major order.
        bits: 1 to 8.

    Returns:
        uint8 of shape (packed_size(codes.numel(), bits),).

    Raises:
        ValueError: `codes` is not uint8, a code does not fit, or `bits` is out of range.

    >>> pack_bits(torch.tensor([1, 2, 3], dtype=torch.uint8), 2).tolist()
    [57]
    """
    _check_bits(bits)
    if codes.dtype != torch.uint8:
        raise ValueError(f"codes are {codes.dtype}, expected torch.uint8")
    values = codes.detach().cpu().reshape(-1).numpy()
    if values.size and int(values.max()) >= 1 << bits:
        raise ValueError(f"code {int(values.max())} does not fit in {bits} bits")
    groups = np.zeros((-(-values.size // 8), 8), np.uint8)
    groups.reshape(-1)[: values.size] = values
    words = np.zeros(len(groups), "<u8")
    for i in range(8):
        words |= groups[:, i].astype("<u8") << np.uint64(i * bits)
    stream = np.ascontiguousarray(words.view(np.uint8).reshape(-1, 8)[:, :bits]).reshape(-1)
    return torch.from_numpy(stream[: packed_size(values.size, bits)])


def unpack_bits(data: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Return `count` codes of a stream of bits. The inverse of `pack_bits`.

    Args:
        data: uint8 of shape (packed_size(count, bits),).
        bits: 1 to 8.
        count: number of codes, ≥ 0.

    Returns:
        uint8 of shape (count,).

    Raises:
        ValueError: `data` does not have the length of `count` codes, or its unused bits are not 0.

    >>> unpack_bits(torch.tensor([57], dtype=torch.uint8), 2, 3).tolist()
    [1, 2, 3]
    """
    _check_bits(bits)
    if data.dtype != torch.uint8 or data.ndim != 1:
        raise ValueError(f"data is {data.dtype} of shape {tuple(data.shape)}, expected uint8 of one axis")
    if count < 0 or len(data) != packed_size(count, bits):
        raise ValueError(f"{len(data)} bytes cannot be {count} codes of {bits} bits")
    stream = data.detach().cpu().numpy()
    unused = len(stream) * 8 - count * bits
    if unused and int(stream[-1]) >> (8 - unused):
        raise ValueError("bits after the last code are not 0")
    whole = np.zeros(-(-count // 8) * bits, np.uint8)
    whole[: len(stream)] = stream
    groups = np.zeros((len(whole) // bits, 8), np.uint8)
    groups[:, :bits] = whole.reshape(-1, bits)
    words = groups.view("<u8").reshape(-1)
    codes = np.empty((len(words), 8), np.uint8)
    for i in range(8):
        codes[:, i] = (words >> np.uint64(i * bits)) & np.uint64((1 << bits) - 1)
    return torch.from_numpy(codes.reshape(-1)[:count].copy())


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 8:
        raise ValueError(f"bits is {bits}, expected 1 to 8")
