"""In which dtype quantizers compute: float32 at least, whatever dtype a tensor has and whether autocast is on.

In half precision 8 bits of code leave 3 bits of mantissa to tell neighbours apart, and the smallest scale is 0. Under
autocast a product of two float32 tensors would round what has just been quantized. So operands are widened, autocast is
off while a quantized product is computed, and the result has the operands' dtype again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def widened(x: Tensor) -> Tensor:
    """Return x in float32 if its dtype is a narrower one, else x itself."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast is off on the device of x."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):  # `meta` has none
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def in_full_precision(compute: Callable[..., Tensor], *operands: Tensor) -> Tensor:
    """Return `compute` of the widened operands, autocast off, in the dtype that torch promotes the operands to."""
    dtype = operands[0].dtype
    for other in operands[1:]:
        dtype = torch.promote_types(dtype, other.dtype)
    with without_autocast(operands[0]):
        return compute(*(widened(x) for x in operands)).to(dtype)
