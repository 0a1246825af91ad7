"""The functions that count as products of two tensors, and the axes along which they multiply.

A product contracts one axis of each operand. An axis that only one operand has is free:

    matmul, @, bmm, mm    left (..., n, k), right (..., k, m)        contracted -1 and -2, free -2 and -1
    einsum                two operands with one common letter that the result lacks
    scaled_dot_product_attention      softmax(q k^T / sqrt(d) + mask) v
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

MATMULS: frozenset[Any] = frozenset(
    (torch.matmul, torch.bmm, torch.mm, Tensor.matmul, Tensor.bmm, Tensor.mm, Tensor.__matmul__)
)
EINSUM: Callable[..., Tensor] = torch.einsum
SDPA: Callable[..., Tensor] = F.scaled_dot_product_attention
PRODUCTS: frozenset[Any] = MATMULS | {EINSUM, SDPA}
SOFTMAXES: frozenset[Any] = frozenset((torch.softmax, Tensor.softmax, F.softmax))
LINEAR: Callable[..., Tensor] = F.linear


@dataclass(frozen=True)
class Axes:
    """The axes along which two operands are multiplied.

    Attributes:
        contracted: summed axis of the left and of the right operand, negative.
        free: an axis of each that is neither summed nor shared, negative; None if there is none.
        macs: number of multiply-adds.
    """

    contracted: tuple[int, int]
    free: tuple[int | None, int | None]
    macs: int


def linear_arguments(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return input, weight and bias of a call of `LINEAR`, positional or by keyword."""
    return input, weight, bias


def operands(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Return the tensors that a product multiplies: two, or three for attention (q, k, v)."""
    if func is EINSUM:
        given = args[1:]
        return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
    names = ("query", "key", "value") if func is SDPA else ("input", "mat2" if "mat2" in kwargs else "other")
    return (*args, *(kwargs[name] for name in names[len(args) :] if name in kwargs))[: len(names)]


def call_with(func: Any, args: tuple[Any, ...], left: Tensor, right: Tensor) -> Tensor:
    """Call a product with other operands."""
    return EINSUM(args[0], left, right) if func is EINSUM else func(left, right)


def axes_of(func: Any, args: tuple[Any, ...], left: Tensor, right: Tensor) -> Axes | str:
    """Return the axes of a product other than attention, or a text that says why it is not supported."""
    if func is EINSUM:
        return _einsum_axes(args[0], left, right)
    if left.dim() < 2 or right.dim() < 2:
        return "one operand is a vector"
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return Axes((-1, -2), (-2, -1), math.prod((*batch, *left.shape[-2:], right.shape[-1])))


def _einsum_axes(equation: Any, left: Tensor, right: Tensor) -> Axes | str:
    if not isinstance(equation, str) or "." in equation:
        return "an einsum without letters for all axes"
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    letters = inputs.split(",")
    if not arrow:
        everything = "".join(letters)
        result = "".join(sorted(letter for letter in set(everything) if everything.count(letter) == 1))
    if len(letters) != 2 or any(len(set(part)) < len(part) for part in letters):
        return "an einsum that is no product of two tensors"
    a, b = letters
    summed = [letter for letter in dict.fromkeys(a + b) if letter not in result]
    if len(summed) != 1 or summed[0] not in a or summed[0] not in b:
        return f"an einsum that sums over {len(summed)} axes"
    free = []
    for own, other in ((a, b), (b, a)):
        alone = [own.index(letter) - len(own) for letter in own if letter not in other]
        free.append(alone[-1] if alone else None)
    sizes = {**dict(zip(a, left.shape)), **dict(zip(b, right.shape))}
    contracted = (a.index(summed[0]) - len(a), b.index(summed[0]) - len(b))
    return Axes(contracted, (free[0], free[1]), math.prod(sizes.values()))
