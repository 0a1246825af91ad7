"""Which steps of a tape the compiled operators take, one rule for each kind; PyTorch runs the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compsrt_plugin.engine import channels
from compsrt_plugin.engine.address import Address, contiguous
from compsrt_plugin.engine.fold import floats
from compsrt_plugin.engine.operators import attention_call
from compsrt_plugin.engine.plan import Native, point_rows
from compsrt_plugin.engine.tape import Spot, Step
from compsrt_plugin.engine.values import ACTIVATIONS, Value, batch_norm_constants, memory_order
from compsrt_plugin.native import structures as c

if TYPE_CHECKING:
    from compsrt_plugin.engine.planner import Planner

aten = torch.ops.aten
COPIES = (aten.contiguous.default, aten.clone.default, aten.reshape.default, aten.flatten.using_ints)


def is_copy(step: Step) -> bool:
    """Whether a step's output holds what its input does, in the same order."""
    if step.function is aten.dropout.default:
        return not step.given()["train"]
    if step.function is aten.pad.default:
        return not any(step.given()["pad"])
    return step.function in COPIES


def operator_name(step: Step) -> str:
    """Return the name of a step's operator, as PyTorch users know it."""
    schema = getattr(step.function, "_schema", None)
    return step.function.__name__ if schema is None else schema.name.partition("::")[2]


def is_plain(step: Step) -> bool:
    """Whether an activation has no options that change it."""
    return len(step.args) == 1 and step.kwargs.get("approximate", "none") == "none"


def is_sum(step: Step, operands: int) -> bool:
    """Whether a step adds two tensors that depend on the image."""
    return step.function is aten.add.Tensor and operands == 2 and step.kwargs.get("alpha", 1) == 1


def reshaped(value: Value, shape: tuple[int, ...]) -> Value | None:
    """Return a value in another shape; None where an axis would have to be split unevenly."""
    return value.moved(lambda address: address.viewed(shape, contiguous(shape), 0))


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
    last, where, activation, added = planner.follow(step.out, Value((made,)), residual=True)
    planner.rows(value, made, norm, layer, activation, added)
    planner.settle(last, where)
    return True


def _depthwise(planner: Planner, step: Step) -> bool:
    given, out = step.given(), step.out
    x, weight, bias, padding, dilation = (given[name] for name in ("input", "weight", "bias", "padding", "dilation"))
    groups = given["groups"]
    if not isinstance(weight, Tensor) or isinstance(bias, Spot) or weight.shape[:2] != (groups, 1) or groups == 1:
        return False
    kernel, steps = tuple(weight.shape[2:]), set(dilation)
    centred = all(k % 2 and p == k // 2 * d for k, p, d in zip(kernel, padding, dilation))
    if not centred or tuple(given["stride"]) != (1, 1) or len(steps) > 1 or x.shape[1] != groups or not out.whole:
        return False
    images, channels_, height, width = x.shape
    address = _pixels(planner, x)
    factor, shift = np.ones(channels_), np.zeros(channels_) if bias is None else floats(bias).astype(np.float64)
    reader = planner.only_reader(out.buffer)
    if reader is not None and reader[1].function is aten.batch_norm.default and reader[1].args[0] == out:
        found = batch_norm_constants(reader[1])
        if found is not None:
            factor = floats(found[0]).astype(np.float64)
            shift = factor * shift + floats(found[1])
            planner.done.add(reader[0])
            out = reader[1].out
    shape = (images, height, width, channels_)
    made = Address.strided(planner.new(out.buffer.size), shape, contiguous(shape))
    last, where, activation, _ = planner.follow(out, Value((made.permuted((0, 3, 1, 2)),)), residual=False)
    call = c.DepthwiseCall(
        images=images,
        height=height,
        width=width,
        channels=channels_,
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        dilation=dilation[0],
        activation=ACTIVATIONS.index(activation),
        weight=floats((floats(weight)[:, 0] * factor[:, None, None]).transpose(1, 2, 0)),
        bias=floats(shift),
    )
    native = Native("depthwise", call, made.buffer)
    point_rows(native, call.x, address, address.rows())
    point_rows(native, call.y, made, made.rows())
    planner.steps.append(native)
    planner.settle(last, where)
    return True


def _pixels(planner: Planner, x: Spot) -> Address:
    """Return an image (b, c, h, w) as (b, h, w, c) with the channels of a pixel side by side."""
    value = planner.value(x).permuted((0, 2, 3, 1))
    address = value.address
    at = None if address is None else address.rows()
    return address if address is not None and at is not None and at.channel == 1 else planner.computed(value, range(4))


def _largest(planner: Planner, step: Step) -> bool:
    given, out = step.given(), step.out
    x, kernel, padding = given["self"], given["kernel_size"], given["padding"]
    stride = given["stride"] or kernel
    if len(x.shape) != 4 or not out.whole or set(given["dilation"]) != {1} or given["ceil_mode"]:
        return False
    sides = [sizes * 2 if len(sizes) == 1 else sizes for sizes in map(list, (kernel, stride, padding))]
    if sides[1] != [1, 1] or any(k % 2 == 0 or p != k // 2 for k, p in zip(sides[0], sides[2])):
        return False
    address = _pixels(planner, x)
    images, height, width, channels_ = address.shape
    made = Address.strided(planner.new(out.buffer.size), address.shape, contiguous(address.shape))
    call = c.DepthwiseCall(
        images=images,
        height=height,
        width=width,
        channels=channels_,
        kernel_height=sides[0][0],
        kernel_width=sides[0][1],
        dilation=1,
    )
    native = Native("depthwise", call, made.buffer)
    point_rows(native, call.x, address, address.rows())
    point_rows(native, call.y, made, made.rows())
    planner.steps.append(native)
    planner.settle(out, Value((made.permuted((0, 3, 1, 2)),)))
    return True


def _moment(planner: Planner, step: Step) -> bool:
    given, out = step.given(), step.out
    x, variance = given["self"], step.function is not aten.mean.dim
    biased = given.get("unbiased") is False or given.get("correction") == 0
    if list(given["dim"] or ()) not in ([-1], [len(x.shape) - 1]) or given.get("dtype") or (variance and not biased):
        return False
    address = planner.with_rows(planner.value(x))
    shape = (*address.shape[:-1], 1)
    made = Address.strided(planner.new(out.buffer.size), shape, contiguous(shape))
    call = c.MomentsCall(rows=out.buffer.size, channels=address.shape[-1], variance=int(variance))
    native = Native("moments", call, made.buffer)
    point_rows(native, call.x, address, address.rows())
    point_rows(native, call.y, made, made.rows())
    planner.steps.append(native)
    planner.at_home(out, made.buffer)
    planner.made.add(out.buffer)
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
    aten.conv2d.default: _depthwise,
    aten.max_pool2d.default: _largest,
    **dict.fromkeys((aten.mean.dim, aten.var.dim, aten.var.correction), _moment),
    torch.ops.compsrt.fake_quantize.default: channels.quantized,
    aten.matmul.default: channels.multiplied,
    "linear": _linear,
    "attention": _attention,
}
"""ATen operator, or name of one of ours -> what makes a step of the plan of it; it returns whether it could."""
