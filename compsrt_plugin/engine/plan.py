"""`Plan`: the steps that compute a network for images of one shape, and memory for no longer than it is needed."""

from __future__ import annotations

import ctypes
import hashlib
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compsrt_plugin.engine.address import Address, RowsAt
from compsrt_plugin.engine.operators import Operators
from compsrt_plugin.engine.steps import Buffer, Spot, spots, with_spots
from compsrt_plugin.native import structures as c

Memory = list[Any]
FLOAT = 4  # bytes
_shared: weakref.WeakValueDictionary[tuple[Any, ...], np.ndarray] = weakref.WeakValueDictionary()


def shared(table: np.ndarray) -> np.ndarray:
    """Return a table, contiguous; the same one for the same values, since many layers read and write alike."""
    whole = np.ascontiguousarray(table)
    key = (whole.dtype.str, whole.shape, hashlib.blake2b(whole.data).digest())
    return _shared.setdefault(key, whole)


@dataclass
class Native:
    """A call of a compiled operator.

    Attributes:
        name: of the operator.
        call: its arguments, without the addresses of tensors.
        more: arguments before `call`.
        pointers: structures of `call`, the field that is an address, and what it is of: a buffer, plus bytes.
        output: the buffer that it writes.
        first: whether the output is new; else an earlier step made it.
    """

    name: str
    call: c.Structure
    output: Buffer
    more: tuple[c.Structure, ...] = ()
    pointers: list[tuple[Any, str, Buffer, int]] = field(default_factory=list)

    def point(self, structure: Any, buffer: Buffer, offset: int, name: str = "data") -> None:
        """Let a field of a structure be the address of an element of a buffer."""
        self.pointers.append((structure, name, buffer, offset * FLOAT))

    def keep(self, table: np.ndarray) -> int:
        """Return the address of a table, which stays as long as the call."""
        whole = shared(table)
        self.call.kept.append(whole)
        return whole.ctypes.data

    def buffers(self) -> list[Buffer]:
        """Return the buffers that it reads or writes."""
        return [buffer for _, _, buffer, _ in self.pointers]

    def prepare(self) -> None:
        """Read the addresses of the tensors that stay in place."""
        self._arguments = tuple(ctypes.addressof(structure) for structure in (*self.more, self.call))

    def run(self, memory: Memory, operators: Operators) -> None:
        """Run it."""
        if memory[self.output.number] is None:
            memory[self.output.number] = torch.empty(self.output.size, dtype=self.output.dtype, device="cpu")
        for structure, name, buffer, offset in self.pointers:
            setattr(structure, name, memory[buffer.number].data_ptr() + offset)
        operators.run(self.name, *self._arguments)


@dataclass
class InTorch:
    """A call of PyTorch.

    Attributes:
        function: what is called.
        args, kwargs: with a `Spot` in the place of a tensor.
        outputs: of the function.
        single: whether it returns one tensor by itself.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Spot | None, ...]
    single: bool

    def buffers(self) -> list[Buffer]:
        """Return the buffers that it reads or writes."""
        found = [spot.buffer for spot in spots((self.args, self.kwargs))]
        return found + [spot.buffer for spot in self.outputs if spot is not None]

    def prepare(self) -> None:
        """Do nothing."""

    def run(self, memory: Memory, operators: Operators) -> None:
        """Run it."""

        def tensor(spot: Spot) -> Tensor:
            return torch.as_strided(memory[spot.buffer.number], spot.shape, spot.stride, spot.offset)

        found = self.function(*with_spots(self.args, tensor), **with_spots(self.kwargs, tensor))
        for spot, made in zip(self.outputs, (found,) if self.single else found):
            if spot is None:
                continue
            if made.stride() != spot.stride or made.storage_offset():
                made = torch.empty_strided(spot.shape, spot.stride, dtype=made.dtype, device="cpu").copy_(made)
            memory[spot.buffer.number] = made


PlanStep = Native | InTorch


def point_rows(step: Native, structure: Any, address: Address, at: RowsAt | None) -> None:
    """Let `Rows` of a call be the rows of an address."""
    assert at is not None
    structure.stride, structure.channel = at.stride, at.channel
    if at.at is not None:
        structure.at = step.keep(at.at)
    step.point(structure, address.buffer, at.offset)


class Plan:
    """A network for images of one shape.

    Args:
        steps: in order.
        constants: buffers that hold the same in every run.
        input, output: of the network.
    """

    def __init__(self, steps: Sequence[PlanStep], constants: dict[Buffer, Tensor], input: Spot, output: Spot) -> None:
        self.steps, self.constants, self._input, self._output = list(steps), constants, input, output
        last: dict[int, int] = {}
        most = max([input.buffer.number, output.buffer.number])
        for number, step in enumerate(self.steps):
            step.prepare()
            for buffer in step.buffers():
                last[buffer.number] = number
                most = max(most, buffer.number)
        kept = {output.buffer.number, *(buffer.number for buffer in constants)}
        self._done: list[list[int]] = [[] for _ in self.steps]
        for buffer, number in last.items():
            if buffer not in kept:
                self._done[number].append(buffer)
        self._size = 1 + max([most, *kept])

    def run(self, x: Tensor, operators: Operators) -> Tensor:
        """Return the network's output of an image of the shape that the plan was made for."""
        memory: Memory = [None] * self._size
        for buffer, constant in self.constants.items():
            memory[buffer.number] = constant
        memory[self._input.buffer.number] = x.contiguous()
        for step, done in zip(self.steps, self._done):
            step.run(memory, operators)
            for number in done:
                memory[number] = None
        out = self._output
        return torch.as_strided(memory[out.buffer.number], out.shape, out.stride, out.offset)
