"""A described network as one file, which the test program loads on a processor of the same byte order and word size."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np

from compsrt_plugin.native import structures


def dump(network: structures.Network) -> bytes:
    """Return all that a network points to, and the network last: address, size, whether it holds addresses, bytes."""
    found = [part for part in _parts(network) if part[1]]
    unique = {address: (content, pointers) for address, content, pointers in found}
    unique.pop(ctypes.addressof(network))
    unique[ctypes.addressof(network)] = bytes(network), True
    return b"".join(
        np.array([address, len(content), pointers], np.int64).tobytes() + content
        for address, (content, pointers) in unique.items()
    )


def _parts(owner: Any) -> Iterator[tuple[int, bytes, bool]]:
    if isinstance(owner, np.ndarray):
        yield owner.ctypes.data, owner.tobytes(), False
    elif isinstance(owner, list):
        for item in owner:
            yield from _parts(item)
    elif isinstance(owner, ctypes.Array | ctypes.Structure):
        yield ctypes.addressof(owner), bytes(owner), True
        yield from _parts(getattr(owner, "kept", []))
