"""`hadamard`: x H_m / sqrt(m), zero-padded to the next power of two.

H_m is Sylvester's matrix. It is symmetric, so the same matrix is used for the forward and the inverse transform, and

    Q(x H) Q(w H)^T = x w^T

up to quantization error. CompSRT (arXiv 2601.21069) quantizes linear weights, linear inputs and attention operands in
this domain.

The matrix itself is multiplied. At these widths (m <= 512) the butterfly is several times slower in torch on a CPU,
because it makes log2(m) passes over memory (`benchmarks/hadamard.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.quant.transforms.orders import signs
from compsrt_plugin.quant.transforms.registry import Transform, register_transform


def padded_width(width: int) -> int:
    """Return the next power of two, the order of the Hadamard matrix used for `width`.

    >>> [padded_width(d) for d in (1, 10, 60, 64, 120)]
    [1, 16, 64, 64, 128]
    """
    return 1 << (width - 1).bit_length()


def normalized(order: int) -> Tensor:
    """Return H_m / sqrt(m) of any order in `orders`, (order, order), in float64."""
    return signs(order).double() / order**0.5


HADAMARD = register_transform(
    Transform("hadamard", lambda width: normalized(padded_width(width))[:width], padded_width, compiled=1)
)


def hadamard_matrix(order: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return Sylvester's H_m / sqrt(m), (order, order): symmetric, orthonormal, its own inverse.

    Args:
        order: a power of two.
        device: device of the cached matrix.
        dtype: a floating dtype; entries are computed in float64 and rounded once.
    """
    return HADAMARD.matrix(order, device, dtype)


def hadamard_transform(x: Tensor) -> Tensor:
    """Transform the last axis: (..., d) -> (..., m), m = `padded_width(d)`; equals pad(x) @ H_m / sqrt(m)."""
    return HADAMARD.forward(x)


def inverse_hadamard_transform(x: Tensor, width: int) -> Tensor:
    """Undo `hadamard_transform` and crop the padding: (..., m) -> (..., width)."""
    return HADAMARD.inverse(x, width)
