"""What follows an operator and can be computed by it: copies, an activation, a sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from compsrt_plugin.engine.address import contiguous
from compsrt_plugin.engine.steps import Spot, Step
from compsrt_plugin.engine.values import ONE_ACTIVATION, Value, order_of, reshaped

if TYPE_CHECKING:
    from compsrt_plugin.engine.planner import Planner


aten = torch.ops.aten
COPIES = (aten.contiguous.default, aten.clone.default, aten.reshape.default, aten.flatten.using_ints)


def is_copy(step: Step) -> bool:
    """Whether a step's output has the elements of its input in the same order."""
    if step.function is aten.dropout.default:
        return not step.given()["train"]
    if step.function is aten.pad.default:
        return not any(step.given()["pad"])
    return step.function in COPIES


def is_plain(step: Step) -> bool:
    """Whether an activation has no options that change it."""
    return len(step.args) == 1 and step.kwargs.get("approximate", "none") == "none"


def is_sum(step: Step, operands: int) -> bool:
    """Whether a step adds two tensors that depend on the image."""
    return step.function is aten.add.Tensor and operands == 2 and step.kwargs.get("alpha", 1) == 1


def absorb(planner: Planner, out: Spot, value: Value, residual: bool) -> tuple[Spot, Value, str, Value | None]:
    """Take what follows an operator into it: copies, an activation, a sum with what is known already.

    Args:
        planner: of the plan.
        out: what the operator returns.
        value: where it will lie; contiguous in some order of axes.
        residual: whether the operator can add.

    Returns:
        the output of the last step taken, where it lies, the activation, and what is added, in the order of rows.
    """
    activation, added = "", None
    while (reader := planner.only_reader(out.buffer)) is not None:
        number, step = reader
        (after,) = step.outputs if len(step.outputs) == 1 else (None,)
        given = step.reads()
        if after is None or not after.whole or not given:
            break
        here = next(spot for spot in given if spot.buffer is out.buffer)
        seen = value.in_memory_order(out).viewed(here)
        if seen is None or not here.whole:
            break
        if is_copy(step) and len(given) == 1:
            in_shape = reshaped(seen, after.shape)
            if in_shape is None:
                break
            value = in_shape
        elif step.function in ONE_ACTIVATION and not activation and added is None and is_plain(step):
            activation, value = ONE_ACTIVATION[step.function], seen
        elif residual and added is None and is_sum(step, len(given)) and here.shape == after.shape:
            other = next(spot for spot in given if spot.buffer is not out.buffer)
            known = other.buffer in planner.made and other.buffer not in planner.normed
            if other.shape != after.shape or not known or not _in_order_of_axes(seen):
                break
            added, value = planner.value(other).permuted(order_of(seen)), seen
        else:
            break
        planner.done.add(number)
        out = after
    return out, value, activation, added


def _in_order_of_axes(value: Value) -> bool:
    """Whether a tensor lies side by side, its axes in some order."""
    assert value.address is not None
    permuted = value.address.permuted(order_of(value))
    strides = permuted.strides()
    wanted = contiguous(permuted.shape)
    return strides is not None and all(
        size == 1 or found == right for size, found, right in zip(permuted.shape, strides, wanted)
    )
