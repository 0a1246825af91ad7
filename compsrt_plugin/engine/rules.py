"""Which steps of a tape the compiled operators take, one rule for each kind; PyTorch runs the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from compsrt_plugin.engine import channels, convolutions, reductions
from compsrt_plugin.engine.address import Address, contiguous
from compsrt_plugin.engine.fold import floats
from compsrt_plugin.engine.following import COPIES, absorb, is_copy
from compsrt_plugin.engine.operators import attention_call
from compsrt_plugin.engine.plan import Native
from compsrt_plugin.engine.steps import Spot, Step
from compsrt_plugin.engine.values import Value, memory_order, reshaped
from compsrt_plugin.native import structures as c

if TYPE_CHECKING:
    from compsrt_plugin.engine.planner import Planner

aten = torch.ops.aten


def operator_name(step: Step) -> str:
    """Return the name of a step's operator, as PyTorch users know it."""
    schema = getattr(step.function, "_schema", None)
    return step.function.__name__ if schema is None else schema.name.partition("::")[2]


def _copied(planner: Planner, step: Step) -> bool:
    (spot,), out = step.reads(), step.out
    if not is_copy(step) or not out.whole:
        return False
    if spot.buffer in planner.normed and spot.whole and spot.contiguous and out.contiguous:
        planner.normed[out.buffer] = planner.normed.pop(spot.buffer)
        planner.made.add(out.buffer)
        return True
    value = reshaped(planner.value(spot), out.shape)
    if value is None:
        return False
    planner.settle(out, value)
    return True


def _rolled(planner: Planner, step: Step) -> bool:
    given, out = step.given(), step.out
    if not given["dims"] or not out.whole:
        return False
    value = planner.value(given["self"])
    for shift, axis in zip(given["shifts"], given["dims"]):
        value = value.rolled(shift, axis % len(out.shape))
    planner.settle(out, value)
    return True


def _joined(planner: Planner, step: Step) -> bool:
    given, out = step.given(), step.out
    parts = [part for part in given["tensors"] if isinstance(part, Spot) or part.numel()]
    if not out.whole or not all(isinstance(part, Spot) for part in parts):
        return False
    axis, order, begin = given["dim"] % len(out.shape), memory_order(out), 0
    buffer = planner.new(out.buffer.size)
    for part in parts:
        region = Address.strided(buffer, part.shape, out.stride, begin * out.stride[axis])
        planner.write(planner.value(part).permuted(order), region.permuted(order))
        begin += part.shape[axis]
    planner.at_home(out, buffer)
    planner.made.add(out.buffer)
    return True


def _normalized(planner: Planner, step: Step) -> bool:
    given, out = step.given(), step.out
    weight, bias, shape = given["weight"], given["bias"], given["normalized_shape"]
    if len(shape) != 1 or isinstance(weight, Spot) or isinstance(bias, Spot) or not (out.whole and out.contiguous):
        return False
    norm = c.Norm(
        weight=floats(np.ones(shape[0]) if weight is None else weight),
        bias=floats(np.zeros(shape[0]) if bias is None else bias),
        epsilon=given["eps"],
    )
    planner.normed[out.buffer] = (Value((planner.address(given["input"]),)), norm)
    planner.made.add(out.buffer)
    if planner.only_reader(out.buffer) is None:
        planner.norm_alone(out.buffer)
    return True


def _linear(planner: Planner, step: Step) -> bool:
    layer, x = step.args
    value, norm = None, None
    if x.buffer in planner.normed and x.whole and x.contiguous:
        before, norm = planner.normed[x.buffer]
        value = reshaped(before, x.shape)
        if value is not None:
            del planner.normed[x.buffer]
    if value is None:
        value, norm = Value((planner.address(x),)), None
    shape = (*value.shape[:-1], layer.outputs)
    made = Address.strided(planner.new(step.out.buffer.size), shape, contiguous(shape))
    last, where, activation, added = absorb(planner, step.out, Value((made,)), residual=True)
    planner.rows(value, made, norm, layer, activation, added)
    planner.settle(last, where)
    return True


def _attention(planner: Planner, step: Step) -> bool:
    described, q, k, v, tables, factors = step.args
    out, value, factor = step.out, planner.value(q), 1.0
    if len(value.inputs) == 1 and [instruction.operation for instruction in value.program] == ["times_number"]:
        factor, value = value.program[0].number, Value(value.inputs)
    operands = [value.address or planner.address(q), planner.address(k), planner.address(v)]
    call = attention_call(described, int(np.prod(q.shape[:-2])), tables, factors, factor)
    call.kept.append(described)
    made = Address.strided(planner.new(out.buffer.size), out.shape, out.stride)
    native = Native("attention", call, made.buffer, more=(described.attention,))
    for structure, address in zip((call.q, call.k, call.v, call.out), (*operands, made)):
        _point_problems(planner, native, structure, address)
    planner.steps.append(native)
    planner.settle(out, Value((made,)))
    return True


def _point_problems(planner: Planner, step: Native, structure: Any, address: Address) -> None:
    """Let `Problems` of a call be an address (..., tokens, channels)."""
    token = len(address.shape) - 2
    channel = address.alone(token + 1)
    if channel is None:
        address, channel = planner.computed(Value((address,)), range(len(address.shape))), 1
    begin, offset = np.zeros(address.shape[:token], np.int64), address.offset
    structure.channel = channel

    def over(axes: tuple[int, ...]) -> list[int]:
        return [address.shape[axis] if axis in axes else 1 for axis in range(token)]

    for axes, table in address.tables:
        if axes == (token + 1,):
            offset += int(table[0])
        elif token not in axes:
            begin += table.reshape(over(axes))
        elif axes == (token,) and (stride := address.alone(token)) is not None:
            structure.token = stride
            offset += int(table[0])
        else:
            structure.at = step.keep(table.reshape(-1, table.shape[-1]))
            if len(axes) > 1:
                which = np.arange(table.size // table.shape[-1], dtype=np.int32).reshape(over(axes))
                structure.table_of = step.keep(np.broadcast_to(which, address.shape[:token]))
    structure.begin = step.keep(begin)
    step.point(structure, address.buffer, offset)


Rule = Callable[["Planner", Step], bool]
RULES: dict[Any, Rule] = {
    **dict.fromkeys((*COPIES, aten.dropout.default, aten.pad.default), _copied),
    aten.roll.default: _rolled,
    aten.cat.default: _joined,
    aten.layer_norm.default: _normalized,
    aten.conv2d.default: convolutions.convolved,
    aten.max_pool2d.default: convolutions.largest,
    aten.pixel_shuffle.default: convolutions.shuffled,
    **dict.fromkeys(reductions.REDUCED, reductions.reduced),
    torch.ops.compsrt.fake_quantize.default: channels.quantized,
    aten.matmul.default: channels.multiplied,
    "linear": _linear,
    "attention": _attention,
}
"""ATen operator, or name of one of ours -> rule that adds a step to the plan; it returns whether it could."""
