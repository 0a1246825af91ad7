"""Rules for convolutions and what belongs to them: their tensors lie pixel by pixel, channels side by side."""

from __future__ import annotations

import hashlib
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compsrt_plugin.engine.address import Address, contiguous
from compsrt_plugin.engine.fold import describe_quantizer, floats, linear_in_floats
from compsrt_plugin.engine.following import absorb
from compsrt_plugin.engine.plan import Native, point_rows
from compsrt_plugin.engine.steps import Spot, Step
from compsrt_plugin.engine.values import ACTIVATIONS, Value, batch_norm_constants, reshaped
from compsrt_plugin.native import structures as c

if TYPE_CHECKING:
    from compsrt_plugin.engine.planner import Planner

aten = torch.ops.aten


def convolved(planner: Planner, step: Step) -> bool:
    """Compute a convolution that keeps height and width: one channel by itself, or 1×1 or 3×3 of all."""
    given, out = step.given(), step.out
    x, weight, bias, padding, dilation = (given[name] for name in ("input", "weight", "bias", "padding", "dilation"))
    if not isinstance(x, Spot) or not isinstance(weight, Tensor) or isinstance(bias, Spot) or not out.whole:
        return False
    kernel = tuple(weight.shape[2:])
    centred = all(k % 2 and p == k // 2 * d for k, p, d in zip(kernel, padding, dilation))
    if not centred or tuple(given["stride"]) != (1, 1) or len(set(dilation)) > 1:
        return False
    groups, inputs = given["groups"], x.shape[1]
    if groups > 1 and groups == inputs and weight.shape[:2] == (groups, 1):
        return _depthwise(planner, step, weight, bias, dilation[0])
    if groups == 1 and kernel == (1, 1):
        return _of_each_pixel(planner, step, weight, bias)
    if groups == 1 and kernel == (3, 3) and dilation[0] == 1:
        return _dense(planner, step, weight, bias)
    return False


def _of_each_pixel(planner: Planner, step: Step, weight: Tensor, bias: Tensor | None) -> bool:
    """Compute a 1×1 convolution: a linear layer of each pixel, in floats."""
    x, out, outputs = step.reads()[0], step.out, weight.shape[0]
    images, inputs, height, width = x.shape
    shift = np.zeros(outputs) if bias is None else floats(bias)
    layer = linear_in_floats(floats(weight)[:, :, 0, 0], shift, describe_quantizer(None, inputs))
    shape = (images, height, width, outputs)
    made = Address.strided(planner.new(out.buffer.size), shape, contiguous(shape))
    last, where, activation, added = absorb(planner, out, Value((made.permuted((0, 3, 1, 2)),)), residual=True)
    planner.rows(planner.value(x).permuted((0, 2, 3, 1)), made, None, layer, activation, added)
    planner.settle(last, where)
    return True


def _depthwise(planner: Planner, step: Step, weight: Tensor, bias: Tensor | None, dilation: int) -> bool:
    x, out, kernel = step.reads()[0], step.out, weight.shape[2:]
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
    last, where, activation, _ = absorb(planner, out, Value((made.permuted((0, 3, 1, 2)),)), residual=False)
    call = c.DepthwiseCall(
        images=images,
        height=height,
        width=width,
        channels=channels_,
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        dilation=dilation,
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


def _dense(planner: Planner, step: Step, weight: Tensor, bias: Tensor | None) -> bool:
    x, out = step.reads()[0], step.out
    images, inputs, height, width = x.shape
    outputs, image = weight.shape[0], _pixels(planner, x, planes=True)
    kernels, shifts = floats(weight), np.zeros(outputs, np.float32) if bias is None else floats(bias)
    reader, factor = planner.only_reader(out.buffer), 1
    if reader is not None and reader[1].function is aten.pixel_shuffle.default and reader[1].args[0] == out:
        factor = reader[1].args[1]
        order = np.arange(outputs).reshape(-1, factor**2).T.reshape(-1)  # channels of a shuffled pixel side by side
        kernels, shifts, out = kernels[order], shifts[order], reader[1].out
        planner.done.add(reader[0])
    rows = planner.level.conv_rows
    blocks = -(-outputs // rows)
    shape = (images, height, width, outputs)
    made = Address.strided(planner.new(out.buffer.size), shape, contiguous(shape))
    value = Value((made.permuted((0, 3, 1, 2)),))
    if factor > 1:
        value = _joined_pixels(made, out.shape, factor)
    last, where, activation, added = absorb(planner, out, value, residual=factor == 1)
    call = c.ConvolutionCall(
        images=images,
        height=height,
        width=width,
        inputs=inputs,
        outputs=outputs,
        blocks=blocks,
        activation=ACTIVATIONS.index(activation),
        weight=packed(kernels, rows),
        bias=np.pad(shifts, (0, blocks * rows - outputs)),
    )
    native = Native("convolution", call, made.buffer)
    point_rows(native, call.x, image, image.rows())
    if added is not None:
        other = planner.residual(added, outputs)
        point_rows(native, call.residual, other, other.rows())
    point_rows(native, call.y, made, made.rows())
    planner.steps.append(native)
    planner.settle(last, where)
    return True


def _joined_pixels(made: Address, shape: tuple[int, ...], factor: int) -> Value:
    """Return an image (b, c, h factor, w factor) of pixels (b, h, w, factor factor c)."""
    images, height, width, outputs = made.shape
    parts = (images, height, width, factor, factor, outputs // factor**2)
    split = made.viewed(parts, contiguous(parts), 0)
    assert split is not None
    value = reshaped(Value((split.permuted((0, 5, 1, 3, 2, 4)),)), shape)
    assert value is not None
    return value


def shuffled(planner: Planner, step: Step) -> bool:
    """Move the channels of a pixel beside each other, without a copy."""
    given, out = step.given(), step.out
    x, factor = given["self"], given["upscale_factor"]
    if len(x.shape) != 4 or not out.whole:
        return False
    images, outputs, height, width = x.shape
    split = reshaped(planner.value(x), (images, outputs // factor**2, factor, factor, height, width))
    value = None if split is None else reshaped(split.permuted((0, 1, 4, 2, 5, 3)), out.shape)
    if value is None:
        return False
    planner.settle(out, value)
    return True


DOWN = np.array(
    (
        *([1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [-1 / 3, 1 / 3, -1 / 3]),
        *([-16 / 15, -8 / 15, -4 / 15], [1 / 15, -2 / 15, 4 / 15], [0, 0, 1]),
    )
)
ACROSS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""How taps are mixed down and across a kernel, as in `csrc/engine/conv_weights.cpp`."""
_packed: weakref.WeakValueDictionary[tuple[tuple[int, ...], int, bytes], Any] = weakref.WeakValueDictionary()


def packed(kernels: np.ndarray, rows: int) -> np.ndarray:
    """Return 3×3 kernels (outputs, inputs, 3, 3) as the operator reads them; the same array for the same kernels.

    Args:
        kernels: float32.
        rows: outputs that are computed at a time.

    Returns:
        float32 (24, blocks, inputs, rows).
    """
    key = (kernels.shape, rows, hashlib.blake2b(np.ascontiguousarray(kernels).data).digest())
    found = _packed.get(key)
    if found is None:
        outputs, inputs = kernels.shape[:2]
        mixed = np.einsum("ik,jl,ockl->ijoc", DOWN, ACROSS, kernels.astype(np.float64), optimize=True)
        mixed = np.pad(mixed.reshape(24, outputs, inputs), ((0, 0), (0, -outputs % rows), (0, 0)))
        found = floats(mixed.reshape(24, -1, rows, inputs).transpose(0, 1, 3, 2))
        _packed[key] = found
    return found


def _pixels(planner: Planner, x: Spot, planes: bool = False) -> Address:
    """Return an image (b, c, h, w) as (b, h, w, c), channels of a pixel side by side, or in planes if allowed."""
    value = planner.value(x).permuted((0, 2, 3, 1))
    address = value.address
    at = None if address is None else address.rows()
    fits = at is not None and (at.channel == 1 or (planes and at.at is None and at.stride == 1))
    return address if address is not None and fits else planner.computed(value, range(4))


def largest(planner: Planner, step: Step) -> bool:
    """Take the largest value under a kernel with stride 1."""
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
