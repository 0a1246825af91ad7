"""The registry of transforms: how a vector x of width d reaches the domain in which it is quantized, and returns.

    y = x M                   M is (d, m) with orthonormal rows or columns
    x = y M^T + offset        the offset is 0 unless the transform leaves a known coefficient out

A packed file names the transform and does not hold its matrix, so the matrix of a released name must never change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from compsrt_plugin.quant.precision import without_autocast
from compsrt_plugin.quant.tensor_cache import cached_tensor


@dataclass(frozen=True, eq=False)
class Transform:
    """One transform along the last axis. This object holds all that the package knows about it.

    Attributes:
        name: value of `transform` in specs and packed files.
        build: takes d and returns M, (d, m), in float64; None for the identity.
        width: takes d and returns m.
        offset: takes d and returns what `inverse` adds to each value.
        unit_rows: whether the input's rows must sum to 1, as those of a softmax map do.
        signs: takes d and returns the sign vector D, (d,) of ±1, if M is D times a matrix without signs; else None.
        compiled: id in the C++ library of M without its sign vector; None if the library does not have it. The
            transform then runs in PyTorch, and the engine refuses the network.
    """

    name: str
    build: Callable[[int], Tensor] | None
    width: Callable[[int], int]
    offset: Callable[[int], float] | None = None
    unit_rows: bool = False
    signs: Callable[[int], Tensor] | None = None
    compiled: int | None = None

    def matrix(self, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return M, (width, m), from a cache; its entries are computed in float64 and rounded once."""
        return transform_matrix(self, width, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Transform the last axis: (..., d) -> (..., m), in the dtype of x."""
        if self.build is None:
            return x
        return _multiply(x, self.matrix(int(x.shape[-1]), x.device, x.dtype))  # int: a tensor in `torch.jit.trace`

    def inverse(self, x: Tensor, width: int) -> Tensor:
        """Undo `forward`: (..., m) -> (..., width)."""
        if self.build is None:
            return x
        back = _multiply(x, inverse_matrix(self, int(width), x.device, x.dtype))
        return back if self.offset is None else back + self.offset(int(width))


TRANSFORMS: dict[str, Transform] = {}
"""Every transform by name."""


def register_transform(transform: Transform) -> Transform:
    """Add a transform to `TRANSFORMS` and return it.

    Raises:
        ValueError: the name is taken. The registry is unchanged.
    """
    if transform.name in TRANSFORMS:
        raise ValueError(f"a transform named {transform.name!r} is registered already")
    TRANSFORMS[transform.name] = transform
    return transform


@cached_tensor(256)
def transform_matrix(transform: Transform, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return M of a transform, see `Transform.matrix`."""
    assert transform.build is not None
    return transform.build(width).to(device=device, dtype=dtype)


@cached_tensor(256)
def inverse_matrix(transform: Transform, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return M^T of a transform, (m, width), contiguous."""
    assert transform.build is not None
    return transform.build(width).T.contiguous().to(device=device, dtype=dtype)


def _multiply(x: Tensor, matrix: Tensor) -> Tensor:
    """Return x @ matrix without autocast, whose rounding is coarser than the distance between codes."""
    with without_autocast(x):
        return x @ matrix


register_transform(Transform("none", None, lambda width: width, compiled=0))
