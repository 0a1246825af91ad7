"""The dtype in which quantizers compute: at least float32, whatever the dtype of a tensor and with autocast on or off.

Half precision has 11 bits of mantissa: with 8-bit codes, 3 bits are left to distinguish neighboring values, and the
smallest scale becomes 0. Autocast would round tensors that have just been quantized. Operands are therefore widened,
autocast is off while a quantized product is computed, and the result is cast back to the dtype of the operands.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def widened(x: Tensor) -> Tensor:
    """Return x in float32 if its dtype is narrower, else x itself."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast is off on the device of x."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):  # `meta` has none
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def in_full_precision(compute: Callable[..., Tensor], *operands: Tensor) -> Tensor:
    """Return `compute` of the widened operands without autocast, in the dtype that torch promotes the operands to."""
    dtype = operands[0].dtype
    for other in operands[1:]:
        dtype = torch.promote_types(dtype, other.dtype)
    with without_autocast(operands[0]):
        return compute(*(widened(x) for x in operands)).to(dtype)
