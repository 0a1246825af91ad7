"""`plan_of`: turn a tape into steps, most of which are compiled operators that read and write where tensors lie."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compsrt_plugin.engine.address import Address, along_any_axis, contiguous
from compsrt_plugin.engine.channels import QuantizedChannels
from compsrt_plugin.engine.plan import InTorch, Native, Plan, PlanStep, point_rows
from compsrt_plugin.engine.quantizers import quantized_alone
from compsrt_plugin.engine.rules import RULES
from compsrt_plugin.engine.steps import Buffer, Spot, Step, with_spots
from compsrt_plugin.engine.tape import Tape
from compsrt_plugin.engine.values import (
    ACTIVATIONS,
    ARITHMETIC,
    OPERATIONS,
    REGISTERS,
    Value,
    memory_order,
    order_of,
    reshaped,
    shapes_fit,
)
from compsrt_plugin.native import Level
from compsrt_plugin.native import structures as c


def plan_of(tape: Tape, level: Level) -> Plan:
    """Return the plan of a tape for a level of instructions."""
    return Planner(tape, level).plan()


class Planner:
    """What is known on the way from a tape to a plan.

    Attributes:
        level: of instructions.
        home: of each buffer of the tape, what it holds, with axes as they lie in it.
        steps: of the plan so far.
        left: steps of the tape that PyTorch runs.
    """

    def __init__(self, tape: Tape, level: Level) -> None:
        assert tape.input is not None and tape.output is not None
        self.tape, self.level, self.steps, self.home = tape, level, list[PlanStep](), dict[Buffer, Value]()
        self.constants: dict[Buffer, Tensor] = {}
        self.readers: dict[Buffer, list[int]] = {}
        self.done: set[int] = set()
        self.left: list[Step] = []
        self.quantized: dict[Buffer, QuantizedChannels] = {}
        self.normed: dict[Buffer, tuple[Value, c.Norm]] = {}
        self._of_constant: dict[int, tuple[Tensor, Buffer]] = {}
        self.made: set[Buffer] = {tape.input.buffer}
        for number, step in enumerate(tape.steps):
            for buffer in {spot.buffer for spot in step.reads()}:
                self.readers.setdefault(buffer, []).append(number)
        self.readers.setdefault(tape.output.buffer, []).append(len(tape.steps))
        self.at_home(tape.input, tape.input.buffer)

    def plan(self) -> Plan:
        """Return the plan."""
        tape = self.tape
        assert tape.input is not None and tape.output is not None
        for number, step in enumerate(tape.steps):
            if number not in self.done:
                self._take(step)
        output = self.in_torch(tape.output)
        return Plan(self.steps, self.constants, tape.input, output)

    def _take(self, step: Step) -> None:
        rule = RULES.get(step.function if hasattr(step.function, "_schema") else step.function.__name__)
        floating = all(spot is None or spot.buffer.dtype is torch.float32 for spot in (*step.reads(), *step.outputs))
        if floating and rule is not None and rule(self, step):
            return
        if floating and step.function in ARITHMETIC and self._arithmetic(step):
            return
        self.torch(step)

    # what tensors are

    def new(self, size: int, dtype: torch.dtype = torch.float32) -> Buffer:
        """Return a buffer for a result."""
        return self.tape.buffer(size, dtype)

    def at_home(self, spot: Spot, buffer: Buffer) -> None:
        """Say that a step's output lies in a buffer as it does on the tape."""
        shape = [spot.shape[axis] for axis in memory_order(spot)] if spot.whole else [spot.buffer.size]
        self.home[spot.buffer] = Value((Address.strided(buffer, shape, contiguous(shape)),))

    def settle(self, spot: Spot, value: Value) -> None:
        """Say what a step's output holds: a value of its shape."""
        self.home[spot.buffer] = value.in_memory_order(spot)
        self.made.add(spot.buffer)

    def value(self, spot: Spot) -> Value:
        """Return what a spot holds."""
        if spot.buffer in self.normed:
            self.norm_alone(spot.buffer)
        if spot.buffer in self.quantized:
            step = self.quantized.pop(spot.buffer).step
            if not quantized_alone(self, step):
                self.torch(step)
        found = self.home[spot.buffer].viewed(spot)
        if found is None:
            self._in_order(spot.buffer)
            found = self.home[spot.buffer].viewed(spot)
        assert found is not None
        return found

    def _in_order(self, buffer: Buffer) -> None:
        """Compute a buffer as it lies in the tape."""
        value = self.home[buffer]
        made = self.computed(value, range(len(value.shape)))
        self.home[buffer] = Value((Address.strided(made.buffer, (buffer.size,), (1,)),))

    def address(self, spot: Spot) -> Address:
        """Return the address of a spot; compute the spot first if it has not been computed."""
        value = self.value(spot)
        if value.address is not None:
            return value.address
        whole = self.home[spot.buffer]
        self.home[spot.buffer] = Value((self.computed(whole),))
        found = self.value(spot).address
        assert found is not None
        return found

    def constant(self, x: Tensor) -> Value:
        """Return a tensor that is the same in every run."""
        known = self._of_constant.get(id(x))
        if known is None:
            buffer = self.new(x.numel())
            self.constants[buffer] = x.detach().to("cpu", torch.float32).contiguous().clone()
            self._of_constant[id(x)] = known = (x, buffer)
        return Value((Address.strided(known[1], x.shape, contiguous(x.shape)),))

    # computing values

    def computed(self, value: Value, order: Sequence[int] | None = None) -> Address:
        """Compute a value with the elementwise operator, laid out with these axes, and return where it lies."""
        order = order_of(value) if order is None else list(order)
        shape = [value.shape[axis] for axis in order]
        buffer = self.new(int(np.prod(shape, dtype=np.int64)))
        stride = contiguous(shape)
        self.write(value.permuted(order), Address.strided(buffer, shape, stride))
        back = [order.index(axis) for axis in range(len(order))]
        return Address.strided(buffer, shape, stride).permuted(back)

    def write(self, value: Value, to: Address) -> None:
        """Compute a value into an address of its shape."""
        found = to.merged(value.inputs)
        all_rows = [address.rows() for address in found]
        if any(rows is None for rows in all_rows):
            found = along_any_axis(found)
            all_rows = [address.rows() for address in found]
        shape = found[0].shape
        rows = int(np.prod(shape[:-1], dtype=np.int64))
        inputs = (c.Rows * len(value.inputs))()
        program = (c.Instruction * len(value.program))(
            *(
                c.Instruction(OPERATIONS.index(i.operation), len(value.inputs) + k, i.left, i.right, i.number)
                for k, i in enumerate(value.program)
            )
        )
        call = c.ElementwiseCall(
            rows=rows,
            channels=shape[-1],
            inputs=len(value.inputs),
            instructions=len(value.program),
            result=value.registers - 1 if value.program else 0,
            x=ctypes.addressof(inputs),
            program=ctypes.addressof(program) if value.program else None,
        )
        call.kept += [inputs, program]
        step = Native("elementwise", call, to.buffer)
        for structure, address, at in zip((call.y, *inputs), found, all_rows):
            point_rows(step, structure, address, at)
        self.steps.append(step)

    # PyTorch

    def in_torch(self, spot: Spot) -> Spot:
        """Return where PyTorch finds a tensor: with strides."""
        address = self.address(spot)
        strides = address.strides()
        if strides is None:
            self.home[spot.buffer] = Value((self.computed(self.home[spot.buffer]),))
            address = self.address(spot)
            strides = address.strides()
            if strides is None:
                self._in_order(spot.buffer)
                address = self.address(spot)
                strides = address.strides()
        assert strides is not None
        return Spot(address.buffer, spot.shape, strides, address.origin())

    def torch(self, step: Step) -> None:
        """Leave a step to PyTorch."""
        self.left.append(step)
        args, kwargs = with_spots(step.args, self.in_torch), with_spots(step.kwargs, self.in_torch)
        outputs: list[Spot | None] = []
        for spot in step.outputs:
            if spot is None:
                outputs.append(None)
                continue
            buffer = self.new(spot.buffer.size, spot.buffer.dtype)
            outputs.append(Spot(buffer, spot.shape, spot.stride, 0))
            self.at_home(spot, buffer)
            self.made.add(spot.buffer)
        self.steps.append(InTorch(step.function, args, kwargs, tuple(outputs), step.single))

    # arithmetic

    def _arithmetic(self, step: Step) -> bool:
        out = step.out
        if not out.whole:
            return False

        def operand(x: Any) -> Value:
            if isinstance(x, Spot):
                return self.value(x)
            return self.constant(x)

        value = self._fitted(ARITHMETIC[step.function](self._broadcast(operand, out.shape), step))
        if value is None or value.shape != out.shape:
            return False
        self.settle(out, value)
        if len(self.readers.get(out.buffer, ())) > 1:
            self.home[out.buffer] = Value((self.computed(self.home[out.buffer]),))
        return True

    def _broadcast(self, operand: Callable[[Any], Value], shape: tuple[int, ...]) -> Callable[[Any], Value]:
        def fitted(x: Any) -> Value:
            value = operand(x)
            smaller = value.program and value.elements < np.prod(shape)  # computed once, and not for each row
            if isinstance(x, Spot) and (smaller or value.registers > REGISTERS // 2):
                value = Value((self.address(x),))
            assert shapes_fit(value, shape)
            return value.broadcast(shape)

        return fitted

    def _fitted(self, value: Value | None) -> Value | None:
        return value if value is None or value.registers <= REGISTERS else None

    # what follows a step

    def only_reader(self, buffer: Buffer) -> tuple[int, Step] | None:
        """Return the step that is the only one to read a buffer."""
        found = self.readers.get(buffer, ())
        if len(found) != 1 or found[0] == len(self.tape.steps):
            return None
        return found[0], self.tape.steps[found[0]]

    # row operators

    def norm_alone(self, buffer: Buffer) -> None:
        """Compute a layer norm that is not fused into a linear layer."""
        x, norm = self.normed.pop(buffer)
        made = Address.strided(self.new(buffer.size), x.shape, contiguous(x.shape))
        self.rows(x, made, norm, None, "", None)
        self.home[buffer] = Value((made,))

    def rows(
        self,
        x: Value,
        to: Address,
        norm: c.Norm | None,
        layer: c.Linear | None,
        activation: str,
        added: Value | None,
    ) -> None:
        """Call the operator of rows on x (..., channels), into a contiguous tensor of x's rows."""
        address = self.with_rows(x)
        call = c.RowsCall(
            rows=int(np.prod(to.shape[:-1], dtype=np.int64)),
            channels=address.shape[-1],
            activation=ACTIVATIONS.index(activation),
            norm=None if norm is None else ctypes.addressof(norm),
            linear=None if layer is None else ctypes.addressof(layer),
        )
        call.kept += [norm, layer]
        residual = None if added is None else self.residual(added, to.shape[-1])
        step = Native("rows", call, to.buffer)
        for structure, of in ((call.x, address), (call.residual, residual), (call.y, to)):
            if of is not None:
                point_rows(step, structure, of, of.rows())
        self.steps.append(step)

    def with_rows(self, value: Value) -> Address:
        """Return an address of a value whose channels have a stride; compute or copy the value if necessary."""
        address = value.address or self.computed(value)
        return address if address.rows() is not None else self.computed(Value((address,)), range(len(address.shape)))

    def residual(self, added: Value, channels: int) -> Address:
        """Return where the rows of what `absorb` adds lie. A single channel is not the last axis in its order."""
        in_rows = added if added.shape[-1] == channels else reshaped(added, (*added.shape, channels))
        assert in_rows is not None
        return self.with_rows(in_rows)
