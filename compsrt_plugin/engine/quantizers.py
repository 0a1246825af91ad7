"""Quantizers of a tape: as the operators take them, and run by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from compsrt_plugin.engine.address import Address, contiguous
from compsrt_plugin.engine.fold import floats, linear_in_floats
from compsrt_plugin.engine.steps import Step
from compsrt_plugin.engine.values import Value
from compsrt_plugin.native import structures as c
from compsrt_plugin.quant.transforms import TRANSFORMS
from compsrt_plugin.quant.transforms.hadamard import padded_width

if TYPE_CHECKING:
    from compsrt_plugin.engine.planner import Planner

MOST_ALONE = 64
"""Channels of rows that are quantized by themselves: their product with an identity grows with the square."""


def quantized_alone(planner: Planner, step: Step) -> bool:
    """Quantize rows: as the input of a linear layer that changes nothing."""
    found, channels = quantizer_of(step), step.out.shape[-1]
    if found is None or channels > MOST_ALONE or not step.out.contiguous:
        return False
    address = planner.address(step.args[0])
    if address.rows() is None:  # each value would be copied by itself
        return False
    quantizer, signs = found
    identity = np.diag(np.ones(channels) if signs is None else signs)
    layer = linear_in_floats(identity, np.zeros(channels), quantizer, inverse=1, signs=signs)
    made = Address.strided(planner.new(step.out.buffer.size), step.out.shape, contiguous(step.out.shape))
    planner.rows(Value((address,)), made, None, layer, "", None)
    planner.settle(step.out, Value((made,)))
    return True


def quantizer_of(step: Step) -> tuple[c.Quantizer, np.ndarray | None] | None:
    """Return a step's quantizer and its sign vector; None if the operators lack it."""
    _, scale, zero_point, top, transform, invert, per_token = step.args
    known, channels = TRANSFORMS[transform], step.out.shape[-1]
    constant = all(isinstance(number, Tensor) and number.numel() == 1 for number in (scale, zero_point))
    if not (constant and invert and known.compiled is not None and step.out.whole):
        return None
    width = padded_width(channels) if known.compiled else channels
    s, z = float(scale), float(zero_point)
    quantizer = c.Quantizer(
        scale=s,
        zero=z,
        top=top,
        transform=known.compiled,
        width=width,
        code_scale=1 / (s * (np.sqrt(width) if known.compiled and not per_token else 1)),
        code_offset=-z / s,
        per_token=int(per_token),
    )
    return quantizer, None if known.signs is None else floats(known.signs(channels))
