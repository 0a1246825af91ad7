"""`Step`: one operation of a forward pass, with spots in buffers in the place of tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Buffer:
    """Memory of a tensor that depends on the image.

    Attributes:
        number: its place in the order of the tape.
        size: elements.
        dtype: of the elements.
    """

    number: int
    size: int
    dtype: torch.dtype


@dataclass(frozen=True)
class Spot:
    """A tensor in a buffer: sizes, strides and offset in elements."""

    buffer: Buffer
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def whole(self) -> bool:
        """Whether it is all of its buffer, each element once."""
        return self.offset == 0 and torch.Size(self.shape).numel() == self.buffer.size and self._dense()

    def _dense(self) -> bool:
        expected = 1
        for stride, size in sorted((stride, size) for stride, size in zip(self.stride, self.shape) if size != 1):
            if stride != expected:
                return False
            expected *= size
        return True

    @property
    def contiguous(self) -> bool:
        """Whether elements lie in the order of the shape, without gaps."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride)):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True


@dataclass
class Step:
    """One operation.

    Attributes:
        function: an ATen operator, or one of ours that takes and returns tensors.
        args, kwargs: its arguments, with a `Spot` in the place of each traced tensor.
        outputs: its results, `None` for one that is not a tensor.
        single: whether it returns one tensor and not a sequence.
        module: dotted name of the module whose code called it.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Spot | None, ...]
    single: bool = True
    module: str = ""

    def reads(self) -> list[Spot]:
        """Return the tensors among the arguments that depend on the image."""
        return spots((self.args, self.kwargs))

    def given(self) -> dict[str, Any]:
        """Return the arguments of an ATen operator by name, defaults included."""
        arguments = self.function._schema.arguments  # pyright: ignore[reportFunctionMemberAccess]
        defaults = {argument.name: argument.default_value for argument in arguments}
        return {**defaults, **dict(zip(defaults, self.args)), **self.kwargs}

    @property
    def out(self) -> Spot:
        """Its only output."""
        (found,) = self.outputs
        assert found is not None
        return found


def spots(given: Any) -> list[Spot]:
    """Return the spots in nested arguments."""
    if isinstance(given, Spot):
        return [given]
    if isinstance(given, dict):
        given = tuple(given.values())
    return [spot for item in given for spot in spots(item)] if isinstance(given, (tuple, list)) else []


def with_spots(given: Any, replaced: Callable[[Spot], Any]) -> Any:
    """Return nested arguments with something else in the place of spots."""
    if isinstance(given, Spot):
        return replaced(given)
    if isinstance(given, dict):
        return {name: with_spots(item, replaced) for name, item in given.items()}
    if isinstance(given, (tuple, list)):
        return type(given)(with_spots(item, replaced) for item in given)
    return given
