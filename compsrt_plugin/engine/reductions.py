"""Rules for means, variances and norms: over the channels of each row, or over the rows of each channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from compsrt_plugin.engine.address import Address, contiguous
from compsrt_plugin.engine.plan import Native, point_rows
from compsrt_plugin.engine.steps import Buffer, Spot, Step
from compsrt_plugin.engine.values import Value, order_of
from compsrt_plugin.native import structures as c

if TYPE_CHECKING:
    from compsrt_plugin.engine.planner import Planner

aten = torch.ops.aten
MOST_CHANNELS = 1024
"""Channels of a call: each thread has buffers for 64 rows of them."""
VARIANCES = (aten.var.dim, aten.var.correction)
REDUCED = (aten.mean.dim, *VARIANCES, aten.linalg_vector_norm.default, aten.adaptive_avg_pool2d.default)


def reduced(planner: Planner, step: Step) -> bool:
    """Compute the mean, variance or Euclidean norm of some axes."""
    axes, x = _axes(step), step.reads()[0]
    if not axes or not step.out.whole:
        return False
    short = x.shape[axes[0]] <= MOST_CHANNELS
    if len(axes) == 1 and short and step.function in (aten.mean.dim, *VARIANCES):
        value = planner.value(x)
        if axes[0] in (len(x.shape) - 1, order_of(value)[-1]):
            return _over_channels(planner, step, value, axes[0])
    return step.function not in VARIANCES and _over_rows(planner, step, x, axes)


def _axes(step: Step) -> tuple[int, ...] | None:
    """Return the axes that a step reduces, in order; None if it computes something else."""
    given, axes = step.given(), len(step.reads()[0].shape)
    if step.function is aten.adaptive_avg_pool2d.default:
        return (axes - 2, axes - 1) if list(given["output_size"]) == [1, 1] else None
    biased = given.get("unbiased") is False or given.get("correction") == 0
    if given.get("dtype") or given.get("ord", 2) != 2 or (step.function in VARIANCES and not biased):
        return None
    return tuple(sorted(axis % axes for axis in given["dim"] or ()))


def _over_channels(planner: Planner, step: Step, value: Value, axis: int) -> bool:
    kept = [other for other in range(len(value.shape)) if other != axis]
    address = planner.with_rows(value.permuted([*kept, axis]))
    shape = (*address.shape[:-1], 1)
    made = Address.strided(planner.new(step.out.buffer.size), shape, contiguous(shape))
    variance = int(step.function in VARIANCES)
    call = c.MomentsCall(rows=step.out.buffer.size, channels=address.shape[-1], variance=variance)
    native = Native("moments", call, made.buffer)
    point_rows(native, call.x, address, address.rows())
    point_rows(native, call.y, made, made.rows())
    planner.steps.append(native)
    _settle(planner, step.out, made.buffer)
    return True


def _over_rows(planner: Planner, step: Step, x: Spot, axes: tuple[int, ...]) -> bool:
    out, address = step.out, planner.address(x)
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    rows = math.prod(x.shape[axis] for axis in axes)
    found = None
    for leading in range(len(kept)):  # as many axes as possible are channels
        groups, channels = (math.prod(x.shape[axis] for axis in part) for part in (kept[:leading], kept[leading:]))
        shape = (groups, rows, channels)
        found = address.permuted([*kept[:leading], *axes, *kept[leading:]]).viewed(shape, contiguous(shape), 0)
        if channels <= MOST_CHANNELS and found is not None and found.rows() is not None:
            break
    else:
        return False
    assert found is not None
    groups, rows, channels = found.shape
    root = step.function is aten.linalg_vector_norm.default
    made = planner.new(out.buffer.size)
    call = c.ReductionCall(groups=groups, rows=rows, channels=channels, root=int(root), factor=1 / rows)
    native = Native("reduction", call, made)
    point_rows(native, call.x, found, found.rows())
    native.point(call.y, made, 0)
    planner.steps.append(native)
    _settle(planner, out, made)
    return True


def _settle(planner: Planner, out: Spot, made: Buffer) -> None:
    """Say that an output, its axes in order, is what a buffer holds."""
    planner.settle(out, Value((Address.strided(made, out.shape, contiguous(out.shape)),)))
