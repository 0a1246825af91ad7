"""`hadamard_block`: x D B, B with one Sylvester block for each power of two that sums up to the width.

A width of 60 has blocks of order 32, 16, 8 and 4, so there is no padding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.quant.transforms.hadamard import normalized
from compsrt_plugin.quant.transforms.registry import Transform, register_transform
from compsrt_plugin.quant.transforms.signed import with_signs


def powers_of_two(width: int) -> list[int]:
    """Return the powers of two that sum up to `width`, largest first.

    >>> powers_of_two(90)
    [64, 16, 8, 2]
    """
    return [1 << place for place in reversed(range(width.bit_length())) if width >> place & 1]


def _build(width: int) -> Tensor:
    return with_signs(torch.block_diag(*[normalized(order) for order in powers_of_two(width)]))


register_transform(Transform("hadamard_block", _build, lambda width: width))
