"""Rules for attention between channels: operands stay in place until a product reads and quantizes them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compsrt_plugin.engine.address import Address, contiguous
from compsrt_plugin.engine.plan import Native, point_rows
from compsrt_plugin.engine.quantizers import quantized_alone, quantizer_of
from compsrt_plugin.engine.steps import Spot, Step
from compsrt_plugin.engine.values import Value
from compsrt_plugin.native import structures as c
from compsrt_plugin.quant.transforms import TRANSFORMS

if TYPE_CHECKING:
    from compsrt_plugin.engine.planner import Planner


@dataclass
class QuantizedChannels:
    """An operand (1, heads, pixels, channels) that its reader quantizes along the channels.

    Attributes:
        x: where it lies, (pixels, heads, channels).
        divisor: (heads, channels) that it is divided by first, or None.
        quantizer, signs: of the channels.
        step: that quantizes it alone.
    """

    x: Address
    divisor: Address | None
    quantizer: c.Quantizer
    signs: np.ndarray | None
    step: Step


def quantized(planner: Planner, step: Step) -> bool:
    """Defer a quantizer of the channels of heads to the product that reads it, or run it by itself."""
    return _deferred(planner, step) or quantized_alone(planner, step)


def _deferred(planner: Planner, step: Step) -> bool:
    made, x, out = quantizer_of(step), step.args[0], step.out
    if made is None or TRANSFORMS[step.args[4]].unit_rows:
        return False
    if len(out.shape) != 4 or out.shape[0] != 1 or planner.only_reader(out.buffer) is None:
        return False
    value = planner.value(x).permuted((0, 2, 1, 3))
    divisor = None
    if [instruction.operation for instruction in value.program] == ["divide"]:
        value, divisor = Value(value.inputs[:1]), value.inputs[1]
        if any(axis == 1 for axes, _ in divisor.tables for axis in axes):
            return False
    found, below = _side_by_side(value.address), _side_by_side(divisor)
    if found is None or (divisor is not None and (below is None or below.alone(1) != 1)):
        return False
    quantizer, signs = made
    planner.quantized[out.buffer] = QuantizedChannels(found, below, quantizer, signs, step)
    planner.made.add(out.buffer)
    return True


def _side_by_side(address: Address | None) -> Address | None:
    """Return (1, pixels, heads, channels) as (pixels, heads · channels), if the channels of all heads have a stride."""
    if address is None:
        return None
    _, pixels, heads, channels = address.shape
    shape = (pixels, heads * channels)
    joined = address.viewed(shape, contiguous(shape), 0)
    return joined if joined is not None and joined.alone(1) is not None else None


def multiplied(planner: Planner, step: Step) -> bool:
    """Compute q kᵀ over pixels, or map · v of pixels."""
    left, right = step.args
    if not isinstance(left, Spot) or not isinstance(right, Spot):
        return False
    k = planner.quantized.get(right.buffer)
    if k is None:
        return False
    if right.whole and right.shape == k.step.out.shape:
        return _gram(planner, step, left, k)
    return _mix(planner, step, left, k)


def _gram(planner: Planner, step: Step, left: Spot, k: QuantizedChannels) -> bool:
    q, out = planner.quantized.get(left.buffer), step.out
    heads, channels = out.shape[1], out.shape[2]
    if q is None or q.x.shape != k.x.shape or left.stride[-2:] != (1, channels) or not out.contiguous:
        return False
    if left.shape != (1, heads, channels, q.x.shape[0]) or out.shape[3] != channels:
        return False
    made = planner.new(out.buffer.size)
    call = c.GramCall(rows=q.x.shape[0], heads=heads, channels=channels)
    native = Native("gram", call, made)
    _point_operand(native, call.q, q)
    _point_operand(native, call.k, k)
    native.point(call.y, made, 0)
    for buffer in {left.buffer, step.args[1].buffer}:  # q and k may be the same
        del planner.quantized[buffer]
    planner.steps.append(native)
    planner.at_home(out, made)
    planner.made.add(out.buffer)
    return True


def _mix(planner: Planner, step: Step, left: Spot, v: QuantizedChannels) -> bool:
    right, out = step.args[1], step.out
    heads, channels, pixels = out.shape[1:]
    if right.shape != (1, heads, channels, pixels) or right.stride[-2:] != (1, channels) or not out.whole:
        return False
    if left.shape != (1, heads, channels, channels) or v.divisor is not None:
        return False
    map_ = planner.address(left)
    if map_.strides() != contiguous(left.shape) and _trimmed(map_) != contiguous(left.shape)[1:]:
        return False
    made = planner.new(out.buffer.size)
    call = c.MixCall(rows=pixels, heads=heads, channels=channels)
    native = Native("mix", call, made)
    _point_operand(native, call.v, v)
    native.point(call, map_.buffer, map_.origin(), "map")
    rows = Address.strided(made, (pixels, heads * channels), (heads * channels, 1))
    point_rows(native, call.y, rows, rows.rows())
    del planner.quantized[right.buffer]
    planner.steps.append(native)
    where = Address.strided(made, out.shape, (out.buffer.size, channels, 1, heads * channels))
    planner.settle(out, Value((where,)))
    return True


def _trimmed(address: Address) -> tuple[int, ...] | None:
    strides = address.strides()
    return None if strides is None else strides[1:]


def _point_operand(native: Native, structure: Any, operand: QuantizedChannels) -> None:
    point_rows(native, structure.x, operand.x, operand.x.rows())
    if operand.divisor is not None:
        native.point(structure, operand.divisor.buffer, operand.divisor.origin(), "divisor")
    if operand.signs is not None:
        structure.signs = native.keep(operand.signs)
    native.call.kept.append(operand.quantizer)
    structure.quantizer = ctypes.addressof(operand.quantizer)
