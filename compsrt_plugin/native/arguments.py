"""Arguments of kernels: addresses of dense tensors, and the number of threads."""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.errors import CompSRTError

PARALLEL_FROM = 1 << 15
"""Number of elements from which a second thread saves time."""


def readable(tensor: Tensor) -> bool:
    """Return whether the kernels can read and write a tensor once it is contiguous: float32, on a CPU."""
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def threads_for(elements: int) -> int:
    """Return the number of threads for a kernel: torch's, or one if a second does not save time."""
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
