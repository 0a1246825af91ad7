"""What the compiled library is called with as one file, which the test program loads on a processor of another kind.

Both processors must have the same byte order and size of addresses.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from compsrt_plugin.engine.plan import Memory, Native


class Call(ctypes.Structure):
    """See `kernels.cpp`."""

    _fields_ = (*((name, ctypes.c_void_p) for name in ("first", "second", "output")), ("bytes", ctypes.c_int64))


def dump_step(step: Native, memory: Memory) -> bytes:
    """Return a step of a plan, its tensors in memory, as `dump` does."""
    output = memory[step.output.number]
    for structure, name, buffer, offset in step.pointers:
        setattr(structure, name, memory[buffer.number].data_ptr() + offset)
    first, second, *_ = *(ctypes.addressof(structure) for structure in (*step.more, step.call)), None
    call = Call(first, second, output.data_ptr(), output.numel() * output.element_size())
    return dump(call, step.more, step.call, [memory[buffer.number] for buffer in step.buffers()])


def dump(called: ctypes.Structure, *more: Any) -> bytes:
    """Return all that a structure points to, and it last: address, size, whether it holds addresses, bytes.

    Args:
        called: a structure.
        more: what it points to, if it does not keep that itself.
    """
    found = [part for part in _parts([called, *more]) if part[1]]
    unique = {address: (content, pointers) for address, content, pointers in found}
    unique.pop(ctypes.addressof(called))
    unique[ctypes.addressof(called)] = bytes(called), True
    return b"".join(
        np.array([address, len(content), pointers], np.int64).tobytes() + content
        for address, (content, pointers) in unique.items()
    )


def _parts(owner: Any) -> Iterator[tuple[int, bytes, bool]]:
    if isinstance(owner, np.ndarray):
        yield owner.ctypes.data, owner.tobytes(), False
    elif isinstance(owner, Tensor):
        yield owner.data_ptr(), owner.detach().reshape(-1).numpy().tobytes(), False
    elif isinstance(owner, list | tuple):
        for item in owner:
            yield from _parts(item)
    elif isinstance(owner, ctypes.Array | ctypes.Structure):
        yield ctypes.addressof(owner), bytes(owner), True
        yield from _parts(getattr(owner, "kept", []))
