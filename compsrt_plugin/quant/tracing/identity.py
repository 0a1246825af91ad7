"""Check that a product in a forward pass is the one that was found at conversion.

A product is identified by its number within the own code of a module. That code may take another branch than at
conversion: in training mode, for another input, or because of a flag. Quantizers would then silently apply to the wrong
products. So each product must have the same kind as at conversion, and none may be missing. Two products of one kind
are distinguished by the place of the call.

Gradient checkpointing within such code computes products again during the backward pass, without interception.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import torch
from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.tracing.products import SDPA, Axes, axes_of

Lengths = tuple[int | None, ...]
HINT = "its code took another branch: keep the module with an override, or write an adapter (docs/your_own_network.md)"
OURS = (__name__.rpartition(".")[0] + ".", "compsrt_plugin.engine.inside")  # prefixes of the modules that intercept
RECOMPUTING = ("torch.utils.checkpoint", "torch.autograd.function")


@dataclasses.dataclass(frozen=True)
class Kind:
    """The features by which a product is recognized.

    Attributes:
        attention: whether it is a call of `scaled_dot_product_attention`.
        axes: which axis of each operand is contracted, and which is free; a text gives the reason if there are none.
        lengths: lengths of those axes; None for a length that depends on the image.
        place: place of the call in the code of the module; empty if it is unknown or not needed.
    """

    attention: bool
    axes: tuple[tuple[int, int], tuple[int | None, int | None]] | str | None
    lengths: Lengths
    place: tuple[tuple[str, int], ...] = ()

    def __deepcopy__(self, _memo: Any) -> Kind:
        """Return itself, since it is immutable."""
        return self

    def __reduce__(self) -> Any:
        """Drop the place: the code may differ when the pickle is read."""
        return Kind, (self.attention, self.axes, self.lengths)

    def with_other_image(self, other: Kind) -> Kind:
        """Return the kind without the lengths that differ for another image."""
        pairs = zip(self.lengths, other.lengths)
        return dataclasses.replace(self, lengths=tuple(a if a == b else None for a, b in pairs))

    def equals_but_place(self, other: Kind) -> bool:
        """Return whether the two differ at most in their place."""
        lengths = len(self.lengths) == len(other.lengths) and all(
            a is None or b is None or a == b for a, b in zip(self.lengths, other.lengths)
        )
        return self.attention == other.attention and self.axes == other.axes and lengths

    def matches(self, other: Kind) -> bool:
        """Return whether `other`, a product of a forward pass, is this product."""
        return self.equals_but_place(other) and (not self.place or not other.place or self.place == other.place)

    def __str__(self) -> str:
        """Return a short description."""
        what = "attention" if self.attention else "a product"
        return f"{what} over axes of {', '.join('any' if n is None else str(n) for n in self.lengths)}"


def kind_of(func: Any, args: tuple[Any, ...], given: Sequence[Any], placed: bool = True) -> Kind:
    """Return the kind of a product at the time of its call.

    Args:
        func, args: the call.
        given: its operands.
        placed: whether to determine its place.
    """
    place = _place() if placed and not torch.compiler.is_compiling() else ()
    shapes = [x.shape for x in given]
    if func is SDPA:
        q, k, v = shapes
        return Kind(True, None, (q[-1], k[-2], v[-1]), place)
    if len(given) != 2:
        return Kind(False, f"a product of {len(given)} tensors", (), place)
    axes = axes_of(func, args, given[0], given[1])
    if not isinstance(axes, Axes):
        return Kind(False, axes, (), place)
    sides = zip(shapes, axes.contracted, axes.free)
    lengths = [n for shape, *pair in sides for n in (None if axis is None else shape[axis] for axis in pair)]
    return Kind(False, (axes.contracted, axes.free), tuple(lengths), place)


def distinguishable(kinds: Sequence[Kind]) -> list[Kind]:
    """Return the kinds of the products of a module; only kinds that occur twice keep their place."""
    return [
        kind if sum(map(kind.equals_but_place, kinds)) > 1 else dataclasses.replace(kind, place=()) for kind in kinds
    ]


def refuse_recomputed(what: str, grad: bool) -> None:
    """Refuse a call that will be computed again during the backward pass.

    Args:
        what: what the call computes, for the message.
        grad: whether gradients were enabled when the forward pass of the module began.

    Raises:
        CompSRTError: the call is within gradient checkpointing or a `torch.autograd.Function`.
    """
    if not grad or torch.compiler.is_compiling():
        return
    if any(frame.f_globals.get("__name__") in RECOMPUTING for frame in _frames()):
        raise CompSRTError(
            f"{what} within gradient checkpointing or an autograd function: "
            "there it is computed again without its quantizers",
            hint="checkpoint the whole module, checkpoint(self.attention, x), or switch checkpointing off",
        )


def wrong_number(module: nn.Module, found: str, expected: int) -> CompSRTError:
    """Return the error for a number of products that differs from conversion."""
    return CompSRTError(f"{type(module).__name__} computes {found} than the {expected} products it had", hint=HINT)


def wrong_kind(module: nn.Module, number: int, found: Kind, expected: Kind) -> CompSRTError:
    """Return the error for product `number`, counted from 0, that differs from conversion."""
    where = " elsewhere in its code" if found.equals_but_place(expected) else ""
    return CompSRTError(
        f"product {number + 1} of {type(module).__name__} is {found}{where}; it was {expected} at conversion", hint=HINT
    )


def _frames() -> Iterator[FrameType]:
    """Yield the frames from here up to the forward pass of the module whose own code makes the call."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        ours = name.startswith(OURS)
        if name == "torch.nn.modules.module" or (ours and frame.f_code.co_name == "forward"):
            return
        if not ours:
            yield frame
        frame = frame.f_back


def _place() -> tuple[tuple[str, int], ...]:
    own = (frame for frame in _frames() if not frame.f_globals.get("__name__", "").startswith("torch."))
    return tuple((frame.f_code.co_name, frame.f_lasti) for frame in own)
