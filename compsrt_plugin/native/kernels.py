"""Fake quantization of rows between two Hadamard transforms: one pass over memory instead of some twenty.

Its threads are those of the OpenMP that torch has loaded already.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import loading, structures
from compsrt_plugin.native.arguments import pointer, readable, threads_for
from compsrt_plugin.native.levels import level
from compsrt_plugin.native.loading import DONE, is_built

LANES = 16
"""Floats in a group; the kernels hold a row in `VECTORS` of them."""
VECTORS = (1, 2, 4, 8, 16)


class Domain(Protocol):
    """What the kernels must know of a transform; `quant.transforms.Transform` has it."""

    @property
    def name(self) -> str:
        """Name for error messages."""
        ...

    @property
    def compiled(self) -> int | None:
        """Id in the library, 0 for the identity; None if the library does not have the transform."""
        ...

    @property
    def signs(self) -> Callable[[int], Tensor] | None:
        """Takes a width and returns the sign vector (width,) that rows are multiplied by first; None without one."""
        ...


def vectors_of(width: int, transform: Domain) -> int | None:
    """Return the number of groups of 16 floats that hold a row; None if the kernels have no code for it."""
    if transform.compiled is None:
        return None
    needed = max(-(-width // LANES), 1)
    if transform.compiled and width <= LANES // 2:
        return None  # its Hadamard matrix is smaller than a vector
    return next((vectors for vectors in VECTORS if vectors >= needed), None)


def usable(x: Tensor, transform: Domain, *others: Tensor) -> bool:
    """Return whether the kernels can quantize rows of x (its last axis) with `others` for scale and zero point."""
    return (
        all(readable(tensor) for tensor in (x, *others))
        and x.numel() > 0
        and x.ndim > 0
        and vectors_of(x.shape[-1], transform) is not None
        and is_built()
    )


def fake_quantize(
    x: Tensor, scale: Tensor, zero_point: Tensor, top: int, transform: Domain, invert: bool, per_token: bool = False
) -> Tensor:
    """Return s r + Z of x, taken to the domain of `transform` before and, if `invert`, back after.

    Args:
        x: (..., d), contiguous or not, `usable`.
        scale, zero_point: (), or (rows, 1) for x (rows, d).
        top: the largest code.
        transform: has an id in the library; `hadamard_softmax` only with `invert`.
        invert: whether the output is taken back.
        per_token: whether scale and zero point are in units of each row's largest magnitude in the domain.

    Returns:
        (..., m), or (..., d) if nothing is transformed or `invert`.
    """
    x, scale, zero_point = x.contiguous(), scale.contiguous(), zero_point.contiguous()
    rows = _Rows(x.shape, scale, transform, invert)
    y = x.new_empty(*x.shape[:-1], rows.width_out)
    if rows.count:
        how = rows.described(scale, zero_point, top, transform, invert, per_token)
        call("fake_quantize", how, pointer(x, rows.inputs), pointer(y, rows.outputs))
    return y


def fake_quantize_backward(
    grad: Tensor,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    top: int,
    transform: Domain,
    invert: bool,
    per_token: bool = False,
    again: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `fake_quantize` by x, scale and zero point (`quant.fake.StrictFakeQuantize` has them).

    Args:
        grad: of the output, and of its shape.
        x, scale, zero_point, top, transform, invert, per_token: as of `fake_quantize`.
        again: filled with the output once more, if given; contiguous, of grad's shape.

    Returns:
        Tensors of the shapes of x, scale and zero point.

    Raises:
        CompSRTError: a tensor that the kernels cannot read or write.
        MemoryError: none is left for the sums.
    """
    x, grad, scale, zero_point = (tensor.contiguous() for tensor in (x, grad, scale, zero_point))
    grad_x, grad_scale, grad_zero = (torch.empty_like(tensor) for tensor in (x, scale, zero_point))
    rows = _Rows(x.shape, scale, transform, invert)
    if rows.count:
        how = rows.described(scale, zero_point, top, transform, invert, per_token)
        to = structures.FakeQuantizeGradients(
            pointer(grad_x, rows.inputs),
            pointer(grad_scale, rows.scales),
            pointer(grad_zero, rows.scales),
            pointer(again, rows.outputs),
        )
        call("fake_quantize_backward", how, pointer(x, rows.inputs), pointer(grad, rows.outputs), ctypes.byref(to))
    return grad_x, grad_scale, grad_zero


class _Rows:
    """The rows of one call: their number, their widths in memory, and the number of values of each tensor.

    Raises:
        CompSRTError: the kernels have no code for that width and transform.
    """

    def __init__(self, shape: torch.Size, scale: Tensor, transform: Domain, invert: bool) -> None:
        self.width = shape[-1]
        vectors = vectors_of(self.width, transform)
        if vectors is None:
            raise CompSRTError(
                f"the kernels have no code for rows of {self.width} with transform {transform.name!r}",
                hint="call torch.ops.compsrt.fake_quantize, which takes any tensor",
            )
        self.vectors = vectors
        self.width_out = self.width if invert or not transform.compiled else vectors * LANES
        self.inputs = shape.numel()
        self.count = self.inputs // self.width if self.width else 0
        self.outputs = self.count * self.width_out
        self.scales = self.count if scale.numel() > 1 else 1

    def described(
        self, scale: Tensor, zero_point: Tensor, top: int, transform: Domain, invert: bool, per_token: bool
    ) -> structures.FakeQuantize:
        """Return the kernel's arguments. They contain addresses, so the tensors must outlive them."""
        return structures.FakeQuantize(
            self.count,
            self.width,
            self.vectors,
            transform.compiled,
            invert,
            pointer(_signs(transform.signs, self.vectors * LANES), self.vectors * LANES),
            pointer(scale, self.scales),
            pointer(zero_point, self.scales),
            scale.numel() > 1,
            per_token,
            top,
            threads_for(self.inputs),
        )


@cache
def _signs(build: Callable[[int], Tensor] | None, width: int) -> Tensor | None:
    """Return a sign vector, float32 (width,); None for None."""
    return None if build is None else build(width).to("cpu", torch.float32)


def call(name: str, how: ctypes.Structure, *addresses: Any) -> None:
    """Call a kernel at the level in use.

    Raises:
        MemoryError: there is none for what it keeps.
    """
    loaded = loading.library()
    assert loaded is not None, "`usable` says whether there is a library"
    if getattr(loaded, f"compsrt_{name}")(level().number, ctypes.byref(how), *addresses) != DONE:
        raise MemoryError(f"{name}: no memory for its sums")
