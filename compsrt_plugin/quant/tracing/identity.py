"""Whether a product in a forward pass is the one that stood there at conversion.

Products are told apart by their number within a module's own code. That code may take another way than it did when it
was probed: in training mode, for another input, or because a switch was set. Then quantizers would stand at the wrong
products without a word, so each product has to be of the same kind as at conversion, and none may be missing. Two of
one kind are told apart by where the code calls them.

Gradient checkpointing within such code computes products again during the backward pass, where nobody watches.
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
HINT = "its code took another way: keep the module with an override, or write an adapter (docs/your_own_network.md)"
TRACING = __name__.rpartition(".")[0] + "."  # of the modules that watch
RECOMPUTING = ("torch.utils.checkpoint", "torch.autograd.function")


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a product is known by.

    Attributes:
        attention: whether it is a call of `scaled_dot_product_attention`.
        axes: which axis of each operand is contracted, and which is free; a text says why there are none.
        lengths: of those axes; None for one whose length depends on the picture.
        place: where in the module's code it is called; empty where that is not known, or says nothing more.
    """

    attention: bool
    axes: tuple[tuple[int, int], tuple[int | None, int | None]] | str | None
    lengths: Lengths
    place: tuple[tuple[str, int], ...] = ()

    def __deepcopy__(self, _memo: Any) -> Kind:
        """Return itself: it cannot be changed."""
        return self

    def __reduce__(self) -> Any:
        """Leave the place behind: the code may be another where this is read again."""
        return Kind, (self.attention, self.axes, self.lengths)

    def with_other_picture(self, other: Kind) -> Kind:
        """Return the kind with no length that another picture changes."""
        pairs = zip(self.lengths, other.lengths)
        return dataclasses.replace(self, lengths=tuple(a if a == b else None for a, b in pairs))

    def alike(self, other: Kind) -> bool:
        """Whether nothing but the place tells the two apart."""
        lengths = len(self.lengths) == len(other.lengths) and all(
            a is None or b is None or a == b for a, b in zip(self.lengths, other.lengths)
        )
        return self.attention == other.attention and self.axes == other.axes and lengths

    def is_of(self, other: Kind) -> bool:
        """Whether a product of a forward pass (`other`) is this one."""
        return self.alike(other) and (not self.place or not other.place or self.place == other.place)

    def __str__(self) -> str:
        """Say it in a few words."""
        what = "attention" if self.attention else "a product"
        return f"{what} over axes of {', '.join('any' if n is None else str(n) for n in self.lengths)}"


def kind_of(func: Any, args: tuple[Any, ...], given: Sequence[Any], placed: bool = True) -> Kind:
    """Return the kind of a product that is being called.

    Args:
        func, args: the call.
        given: its operands.
        placed: whether to look for its place.
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


def telling_apart(kinds: Sequence[Kind]) -> list[Kind]:
    """Return the kinds of a module's products, with their place only where another one is alike."""
    return [
        kind if sum(kind.alike(other) for other in kinds) > 1 else dataclasses.replace(kind, place=()) for kind in kinds
    ]


def refuse_recomputed(what: str, grad: bool) -> None:
    """Raise if the call that is running will be computed again during the backward pass.

    Args:
        what: is computed, for the message.
        grad: whether there were gradients when the module's forward pass began.

    Raises:
        CompSRTError: it is called within gradient checkpointing, or a `torch.autograd.Function`.
    """
    if not grad or torch.compiler.is_compiling():
        return
    if any(frame.f_globals.get("__name__") in RECOMPUTING for frame in _frames()):
        raise CompSRTError(
            f"{what} within gradient checkpointing, or a function with a backward pass of its own: "
            "there it is computed again without its quantizers",
            hint="checkpoint the whole module, checkpoint(self.attention, x), or switch that off",
        )


def wrong_number(module: nn.Module, found: str, expected: int) -> CompSRTError:
    """Return the error for another number of products than at conversion."""
    return CompSRTError(f"{type(module).__name__} computes {found} than the {expected} products it had", hint=HINT)


def wrong_kind(module: nn.Module, number: int, found: Kind, expected: Kind) -> CompSRTError:
    """Return the error for a product, counted from 0, that is another than at conversion."""
    where = " elsewhere in its code" if found.alike(expected) else ""
    return CompSRTError(
        f"product {number + 1} of {type(module).__name__} is {found}{where}; it was {expected} at conversion", hint=HINT
    )


def _frames() -> Iterator[FrameType]:
    """Yield the frames from here up to the forward pass of the module in whose own code a function is called."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        ours = name.startswith(TRACING)
        if name == "torch.nn.modules.module" or (ours and frame.f_code.co_name == "forward"):
            return
        if not ours:
            yield frame
        frame = frame.f_back


def _place() -> tuple[tuple[str, int], ...]:
    own = (frame for frame in _frames() if not frame.f_globals.get("__name__", "").startswith("torch."))
    return tuple((frame.f_code.co_name, frame.f_lasti) for frame in own)
