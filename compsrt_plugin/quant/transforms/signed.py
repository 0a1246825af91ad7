"""`hadamard_signed`: x D H_m / sqrt(m) with a fixed sign vector D, zero-padded to the next power of two.

Without D one coefficient is the mean of x. For tensors such as GELU's output it is far larger than the others and
widens the range that the codes must cover. D holds Rudin-Shapiro signs, whose Walsh-Hadamard transform is as flat as
possible, so the mean is spread over all coefficients. (QuIP#, arXiv 2402.04396, and QuaRot, arXiv 2404.00456, draw
random signs.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.quant.transforms.hadamard import normalized, padded_width
from compsrt_plugin.quant.transforms.registry import Transform, register_transform


def rudin_shapiro(length: int) -> Tensor:
    """Return the first signs of the Rudin-Shapiro sequence, (length,) of ±1 in int8.

    Sign n is -1 to the number of pairs 11 in the binary digits of n.

    >>> rudin_shapiro(8).tolist()
    [1, 1, 1, -1, 1, 1, -1, 1]
    """
    return torch.tensor([(-1) ** bin(n & n >> 1).count("1") for n in range(length)], dtype=torch.int8, device="cpu")


def with_signs(matrix: Tensor) -> Tensor:
    """Return D M of a matrix M, (width, m): its rows with Rudin-Shapiro signs."""
    return rudin_shapiro(len(matrix))[:, None] * matrix


register_transform(
    Transform(
        "hadamard_signed",
        lambda width: with_signs(normalized(padded_width(width))[:width]),
        padded_width,
        signs=rudin_shapiro,
        compiled=1,
    )
)
