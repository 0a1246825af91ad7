"""The orthonormal Sylvester-Hadamard transform along the last axis, at any width.

x of width d is transformed as x H_m / sqrt(m), with m the next power of two and x zero-padded to it. Zero
padding picks the first d rows of H, so the padded tensor is never made. The matrix product is used rather than
the butterfly: at these widths (m <= 512) it is several times faster in torch on a CPU
(`benchmarks/hadamard.py`), since the butterfly makes log2(m) passes over memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.quant.constants import constant
from compsrt_plugin.quant.precision import without_autocast


def padded_width(width: int) -> int:
    """Return the next power of two, the order of the Hadamard matrix used for `width`.

    >>> [padded_width(d) for d in (1, 10, 60, 64, 120)]
    [1, 16, 64, 64, 128]
    """
    return 1 << (width - 1).bit_length()


@constant(64)
def hadamard_matrix(order: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return H_m / sqrt(m), shape (order, order): symmetric, orthonormal, its own inverse.

    Args:
        order: a power of two.
        device: where the cached matrix lives.
        dtype: its floating type; entries are computed in float64 and rounded once.
    """
    matrix = torch.ones(1, 1, dtype=torch.float64, device="cpu")
    while matrix.shape[0] < order:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)], 0)
    return (matrix / order**0.5).to(device=device, dtype=dtype)


def rotated(x: Tensor, matrix: Tensor) -> Tensor:
    """Return x @ matrix in the dtype of both, autocast or not: codes are told apart by less than autocast keeps."""
    with without_autocast(x):
        return x @ matrix


def hadamard_transform(x: Tensor) -> Tensor:
    """Transform the last axis: (..., d) -> (..., m), m = `padded_width(d)`; equals pad(x) @ H_m / sqrt(m)."""
    width = int(x.shape[-1])  # not a tensor, which it is to `torch.jit.trace`
    matrix = hadamard_matrix(padded_width(width), x.device, x.dtype)
    return rotated(x, matrix.narrow(0, 0, width))


def inverse_hadamard_transform(x: Tensor, width: int) -> Tensor:
    """Undo `hadamard_transform` and crop the padding: (..., m) -> (..., width)."""
    matrix = hadamard_matrix(int(x.shape[-1]), x.device, x.dtype)
    return rotated(x, matrix.narrow(1, 0, int(width)))


def softmax_transform(x: Tensor) -> Tensor:
    """Transform rows that sum to 1: (..., d) -> (..., m - 1), the Hadamard coefficients but the first.

    The first coefficient of such a row is exactly 1 / sqrt(m): it carries nothing, and it alone would stretch
    the range that the codes must cover.
    """
    width = int(x.shape[-1])
    matrix = hadamard_matrix(padded_width(width), x.device, x.dtype)
    return rotated(x, matrix.narrow(0, 0, width).narrow(1, 1, matrix.shape[1] - 1))


def inverse_softmax_transform(x: Tensor, width: int) -> Tensor:
    """Undo `softmax_transform`: (..., m - 1) -> (..., width), the known first coefficient put back."""
    order = int(x.shape[-1]) + 1
    matrix = hadamard_matrix(order, x.device, x.dtype)
    return rotated(x, matrix.narrow(0, 1, order - 1).narrow(1, 0, int(width))) + 1 / order
