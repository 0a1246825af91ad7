"""The transforms by the names that specs use: how a tensor gets to the domain in which it is quantized, and back.

Besides the plain padded transform there are three whose rows have fixed signs first, x D H with D = diag(±1). Without
D one coefficient is the mean of x, which for tensors like GELU's output is far larger than the others and stretches
the range that codes must cover. D holds the Rudin-Shapiro signs, whose Walsh-Hadamard transform is as flat as it can
be: the mean is spread over all coefficients. (QuIP#, arXiv 2402.04396, and QuaRot, arXiv 2404.00456, draw them.)

    hadamard_signed   D, then Sylvester's matrix of the next power of two, zero-padded
    hadamard_exact    D, then a matrix of the width's own order; as hadamard_signed where none is built here
    hadamard_block    D, then one Sylvester matrix for each power of two that sums up to the width: 60 = 32 + 16 + 8 + 4

A packed file names the transform, not the matrix: these matrices may not change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from compsrt_plugin.quant.constants import constant
from compsrt_plugin.quant.transforms.hadamard import (
    hadamard_transform,
    inverse_hadamard_transform,
    inverse_softmax_transform,
    padded_width,
    rotated,
    softmax_transform,
)
from compsrt_plugin.quant.transforms.orders import construction, signs


def rudin_shapiro(length: int) -> Tensor:
    """Return the first signs of the Rudin-Shapiro sequence, (length,) of ±1: −1 to the number of pairs 11 in n.

    >>> rudin_shapiro(8).tolist()
    [1, 1, 1, -1, 1, 1, -1, 1]
    """
    return torch.tensor([(-1) ** bin(n & n >> 1).count("1") for n in range(length)], dtype=torch.int8, device="cpu")


def powers_of_two(width: int) -> list[int]:
    """Return the powers of two that sum up to `width`, largest first.

    >>> powers_of_two(90)
    [64, 16, 8, 2]
    """
    return [1 << place for place in reversed(range(width.bit_length())) if width >> place & 1]


@constant(256)
def rotation(transform: str, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the matrix M of a transform with signs, (width, m): x M transforms, y Mᵀ takes back, M Mᵀ = I.

    Args:
        transform: `hadamard_signed`, `hadamard_exact` or `hadamard_block`.
        width: d; m is its next power of two for `hadamard_signed`, else d.
        device: where the cached matrix lives.
        dtype: its floating type; entries are computed in float64 and rounded once.
    """
    own = transform == "hadamard_exact" and construction(width) is not None
    if transform == "hadamard_exact" and not own:
        logging.getLogger("basicsr").info(
            f"hadamard_exact: no matrix of order {width} is built here, padded to {padded_width(width)} instead"
        )
    if transform == "hadamard_block":
        matrix = torch.block_diag(*[signs(order).double() / order**0.5 for order in powers_of_two(width)])
    else:
        order = width if own else padded_width(width)
        matrix = signs(order)[:width].double() / order**0.5
    return (rudin_shapiro(width)[:, None] * matrix).to(device=device, dtype=dtype)


def _rotated(transform: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor, int], Tensor]]:
    def forward(x: Tensor) -> Tensor:
        return rotated(x, rotation(transform, int(x.shape[-1]), x.device, x.dtype))

    def inverse(x: Tensor, width: int) -> Tensor:
        return rotated(x, rotation(transform, int(width), x.device, x.dtype).T)

    return forward, inverse


def domain_width(transform: str, width: int) -> int:
    """Return m, how many numbers a transform makes of `width`.

    >>> [domain_width(name, 60) for name in ("none", "hadamard", "hadamard_softmax", "hadamard_exact")]
    [60, 64, 63, 60]
    """
    if transform in ("none", "hadamard_block") or (transform == "hadamard_exact" and construction(width) is not None):
        return width
    return padded_width(width) - (transform == "hadamard_softmax")


FORWARD_AND_INVERSE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, int], Tensor]]] = {
    "none": (lambda x: x, lambda x, width: x),
    "hadamard": (hadamard_transform, inverse_hadamard_transform),
    "hadamard_softmax": (softmax_transform, inverse_softmax_transform),
    "hadamard_signed": _rotated("hadamard_signed"),
    "hadamard_exact": _rotated("hadamard_exact"),
    "hadamard_block": _rotated("hadamard_block"),
}
"""Name -> (takes (..., d) to (..., m), takes (..., m) back to (..., d)); the names are `spec.TRANSFORMS`."""
