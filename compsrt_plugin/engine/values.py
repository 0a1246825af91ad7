"""`Value`: what a buffer of the tape holds: a tensor that lies somewhere, or arithmetic on such tensors.

Sums, products, gates and activations are not computed one by one. A value remembers them as a program of the
elementwise operator, whose inputs are addresses. Copies move the addresses. The program runs when somebody needs the
values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from compsrt_plugin.engine.address import Address, contiguous
from compsrt_plugin.engine.steps import Spot, Step

aten = torch.ops.aten

OPERATIONS = (
    *("add", "subtract", "multiply", "divide", "add_number", "times_number", "number_minus", "number_over", "maximum"),
    *("sigmoid", "gelu", "silu", "relu", "leaky_relu", "square_root", "square", "tanh", "set_number"),
)
"""In the order of `enum Operation` in `csrc/kernels/elementwise-inl.h`."""
ACTIVATIONS = ("", "gelu", "silu", "relu")
"""In the order of `enum Activation` there."""
REGISTERS = 16


@dataclass(frozen=True)
class Instruction:
    """One operation on registers: inputs come first, each instruction adds one."""

    operation: str
    left: int
    right: int = 0
    number: float = 0.0


@dataclass(frozen=True)
class Value:
    """A tensor as a program of its inputs, all of one shape.

    Attributes:
        inputs: where they lie.
        program: what is computed, the last instruction's result being the value; empty: the first input itself.
    """

    inputs: tuple[Address, ...]
    program: tuple[Instruction, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.inputs[0].shape

    @property
    def address(self) -> Address | None:
        """The address; None if the value has to be computed."""
        return None if self.program else self.inputs[0]

    @property
    def elements(self) -> int:
        """How many elements there are without those that are repeated."""
        return max(math.prod(table.size for _, table in address.tables) for address in self.inputs)

    @property
    def registers(self) -> int:
        """How many registers the program takes."""
        return len(self.inputs) + len(self.program)

    def moved(self, move: Callable[[Address], Address | None]) -> Value | None:
        """Return the value with its inputs moved; None if one of them cannot be moved."""
        inputs = []
        for address in self.inputs:
            moved = move(address)
            if moved is None:
                return None
            inputs.append(moved)
        return replace(self, inputs=tuple(inputs))

    def viewed(self, spot: Spot) -> Value | None:
        """Return a view."""
        return self.moved(lambda address: address.viewed(spot.shape, spot.stride, spot.offset))

    def in_memory_order(self, spot: Spot) -> Value:
        """Return the value, of a spot's shape, with axes as they lie in the spot's buffer."""
        return self.permuted(memory_order(spot))

    def permuted(self, order: Sequence[int]) -> Value:
        """Return the value with its axes in another order."""
        return replace(self, inputs=tuple(address.permuted(order) for address in self.inputs))

    def rolled(self, shift: int, axis: int) -> Value:
        """Return the value after a roll along an axis."""
        return replace(self, inputs=tuple(address.rolled(shift, axis) for address in self.inputs))

    def broadcast(self, shape: tuple[int, ...]) -> Value:
        """Return the value repeated to a shape."""
        return replace(self, inputs=tuple(address.broadcast(shape) for address in self.inputs))

    def then(self, operation: str, number: float = 0.0) -> Value:
        """Return an operation on the value."""
        last = self.registers - 1 if self.program else 0
        return replace(self, program=(*self.program, Instruction(operation, last, 0, number)))

    def with_other(self, operation: str, other: Value) -> Value:
        """Return an operation on this value and another of its shape."""
        inputs, places = list(self.inputs), []
        for address in other.inputs:
            same = next((i for i, own in enumerate(inputs) if own is address), None)
            places.append(len(inputs) if same is None else same)
            if same is None:
                inputs.append(address)
        more = len(inputs) - len(self.inputs)

        def mine(register: int) -> int:
            return register if register < len(self.inputs) else register + more

        def theirs(register: int) -> int:
            if register < len(other.inputs):
                return places[register]
            return register - len(other.inputs) + len(inputs) + len(self.program)

        program = [replace(i, left=mine(i.left), right=mine(i.right)) for i in self.program]
        program += [replace(i, left=theirs(i.left), right=theirs(i.right)) for i in other.program]
        left = mine(self.registers - 1) if self.program else 0
        right = theirs(other.registers - 1) if other.program else places[0]
        return Value(tuple(inputs), (*program, Instruction(operation, left, right)))


def memory_order(spot: Spot) -> list[int]:
    """Return the axes of a spot from the largest stride to the smallest."""
    return sorted(range(len(spot.shape)), key=lambda axis: (-spot.stride[axis], axis))


def order_of(value: Value) -> list[int]:
    """Return the axes of a value in the order in which its largest input lies in memory."""
    of_size = [math.prod(table.size for _, table in address.tables) for address in value.inputs]
    steps = value.inputs[of_size.index(max(of_size))].steps()
    return sorted(range(len(steps)), key=lambda axis: (value.shape[axis] != 1, -abs(steps[axis]), axis))


def reshaped(value: Value, shape: tuple[int, ...]) -> Value | None:
    """Return a value in another shape; None if an axis would have to be split unevenly."""
    return value.moved(lambda address: address.viewed(shape, contiguous(shape), 0))


def _scalar(x: Any) -> float | None:
    if isinstance(x, bool):
        return None
    if isinstance(x, (int, float)):
        return float(x)
    if isinstance(x, Tensor) and x.numel() == 1:
        return float(x)
    return None


Operand = Callable[[Any], Value]
"""Returns the value of an argument, repeated to the shape of the result."""
Arithmetic = Callable[[Operand, Step], "Value | None"]


def _two(
    operation: str, with_number: Callable[[Value, float], Value], reversed_: Callable[[float, Value], Value]
) -> Arithmetic:
    def build(operand: Operand, step: Step) -> Value | None:
        if len(step.args) != 2 or step.kwargs.get("alpha", 1) != 1 or step.kwargs.get("rounding_mode"):
            return None
        left, right = step.args
        numbers = _scalar(left), _scalar(right)
        if numbers[1] is not None:
            return with_number(operand(left), numbers[1])
        if numbers[0] is not None:
            return reversed_(numbers[0], operand(right))
        return operand(left).with_other(operation, operand(right))

    return build


def _one(*operations: str) -> Arithmetic:
    def build(operand: Operand, step: Step) -> Value | None:
        if len(step.args) != 1 or step.kwargs.get("approximate", "none") != "none":
            return None
        value = operand(step.args[0])
        for operation in operations:
            value = value.then(operation, 1.0)
        return value

    return build


def _leaky(operand: Operand, step: Step) -> Value | None:
    return operand(step.args[0]).then("leaky_relu", float(step.given()["negative_slope"]))


def _power(operand: Operand, step: Step) -> Value | None:
    operation = {2: "square", 0.5: "square_root"}.get(step.args[1])
    return None if operation is None else operand(step.args[0]).then(operation)


def _at_least(operand: Operand, step: Step) -> Value | None:
    number = _scalar(step.args[1])
    return None if number is None else operand(step.args[0]).then("maximum", number)


def _negated(operand: Operand, step: Step) -> Value | None:
    return _times(operand(step.args[0]), -1.0)


def _number_minus(operand: Operand, step: Step) -> Value | None:
    x, number = step.args[0], _scalar(step.args[1])
    return None if number is None or len(step.args) > 2 else operand(x).then("number_minus", number)


def _batch_norm(operand: Operand, step: Step) -> Value | None:
    found, x = batch_norm_constants(step), step.args[0]
    if found is None:
        return None
    factor, bias = (constant.reshape(-1, *[1] * (len(x.shape) - 2)) for constant in found)
    return operand(x).with_other("multiply", operand(factor)).with_other("add", operand(bias))


def batch_norm_constants(step: Step) -> tuple[Tensor, Tensor] | None:
    """Return factor and bias (channels,) of a batch norm that does not train."""
    given = step.given()
    weight, bias, mean, variance = (given[name] for name in ("weight", "bias", "running_mean", "running_var"))
    if given["training"] or mean is None or variance is None:
        return None
    factor = torch.rsqrt(variance.double() + given["eps"])
    factor = factor if weight is None else factor * weight.double()
    shift = -mean.double() * factor
    return factor.float(), (shift if bias is None else shift + bias.double()).float()


def _plus(value: Value, number: float) -> Value:
    return value.then("add_number", number)


def _times(value: Value, number: float) -> Value:
    return value.then("times_number", number)


_ADD = _two("add", _plus, lambda n, v: _plus(v, n))
_MULTIPLY = _two("multiply", _times, lambda n, v: _times(v, n))
_SUBTRACT = _two("subtract", lambda v, n: _plus(v, -n), lambda n, v: v.then("number_minus", n))
_DIVIDE = _two("divide", lambda v, n: _times(v, 1 / n if n else math.inf), lambda n, v: v.then("number_over", n))

ARITHMETIC: dict[Any, Arithmetic] = {
    **dict.fromkeys((aten.add.Tensor, aten.add.Scalar), _ADD),
    **dict.fromkeys((aten.mul.Tensor, aten.mul.Scalar), _MULTIPLY),
    **dict.fromkeys((aten.sub.Tensor, aten.sub.Scalar), _SUBTRACT),
    **dict.fromkeys((aten.div.Tensor, aten.div.Scalar), _DIVIDE),
    aten.rsub.Scalar: _number_minus,
    aten.neg.default: _negated,
    aten.sigmoid.default: _one("sigmoid"),
    aten.gelu.default: _one("gelu"),
    aten.silu.default: _one("silu"),
    aten.relu.default: _one("relu"),
    aten.tanh.default: _one("tanh"),
    aten.sqrt.default: _one("square_root"),
    aten.rsqrt.default: _one("square_root", "number_over"),
    aten.reciprocal.default: _one("number_over"),
    aten.square.default: _one("square"),
    aten.pow.Tensor_Scalar: _power,
    aten.leaky_relu.default: _leaky,
    aten.clamp_min.default: _at_least,
    aten.batch_norm.default: _batch_norm,
}
"""ATen operators that the elementwise operator computes."""
ONE_ACTIVATION: dict[Any, str] = {aten.gelu.default: "gelu", aten.silu.default: "silu", aten.relu.default: "relu"}
"""Operators that other operators compute when they store their output."""


def shapes_fit(value: Value, shape: Sequence[int]) -> bool:
    """Whether a value can be repeated to a shape."""
    own = value.shape
    return len(own) <= len(shape) and all(a in (1, b) for a, b in zip(reversed(own), reversed(tuple(shape))))
