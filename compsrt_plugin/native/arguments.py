"""What kernels take: addresses of dense tensors, and how many threads pay."""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.errors import CompSRTError

PARALLEL_FROM = 1 << 15
"""Elements from which a second thread pays."""


def readable(tensor: Tensor) -> bool:
    """Return whether the kernels can read and write a tensor once it is contiguous: float32, on a CPU."""
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def threads_for(elements: int) -> int:
    """Return how many threads a kernel uses: torch's number, or one where a second does not pay."""
    return torch.get_num_threads() if elements >= PARALLEL_FROM else 1


def pointer(tensor: Tensor | None, size: int) -> int | None:
    """Return the address of a tensor's values, None for None.

    Every tensor that reaches a kernel is checked here.

    Raises:
        CompSRTError: it does not hold `size` values as the kernels read and write them.
    """
    if tensor is None:
        return None
    dense = tensor.layout == torch.strided and tensor.is_contiguous()
    fits = dense and readable(tensor) and not tensor.is_neg()
    if not fits or tensor.numel() != size or (size and not tensor.data_ptr()):
        raise CompSRTError(
            f"a kernel got {type(tensor).__name__} {tuple(tensor.shape)}, {tensor.dtype}, {tensor.layout}, "
            f"on {tensor.device}",
            allowed=f"{size:,d} values, torch.float32, contiguous, on cpu",
            hint="call the operator in torch.ops.compsrt, which takes any tensor",
        )
    return tensor.data_ptr()
