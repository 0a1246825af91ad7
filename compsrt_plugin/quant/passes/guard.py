"""The guard: more bits for the activations whose quantization causes most of the output's error."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from compsrt_plugin.config.typed import Block
from compsrt_plugin.config.values import Bits
from compsrt_plugin.quant.network import activation_quantizers
from compsrt_plugin.quant.passes.registry import Calibration, Pass, Stage, register_pass
from compsrt_plugin.quant.sensitivity import give_bits, output_errors, raised_bits

GUARDED_PATCHES, GUARD_PROJECTIONS = 4, 2
"""Calibration patches on which errors are estimated, and backward passes for each of them."""


class GuardBlock(Block, frozen=True, kw_only=True):
    """`quant.guard`: more bits for the activations whose quantization causes most of the output's error.

    Attributes:
        times_mean: an activation gets more bits if its share of the output's error, estimated on the calibration
            patches, exceeds this many times the mean share.
        bits: the most bits that an activation may get.
    """

    where = "quant.guard"

    times_mean: Annotated[float, Meta(ge=1)] = 1.5
    bits: Bits = 8


def guard_activations(calibration: Calibration, guard: GuardBlock) -> None:
    """Give more bits to activations that cause too much of the output's error, and search all bounds again.

    Args:
        calibration: bounds searched; `raised` then has the new bits, in descending order of error.
        guard: the largest error of one activation, and the largest number of bits.
    """
    network = calibration.network
    quantizers = activation_quantizers(network)
    if not quantizers:
        return
    errors = output_errors(network, calibration.patches("guard", GUARDED_PATCHES), GUARD_PROJECTIONS)
    raised = raised_bits(errors, {name: q.spec.bits for name, q in quantizers.items()}, guard.times_mean, guard.bits)
    total = sum(errors.values())
    for name, bits in raised.items():
        before = quantizers[name].spec.bits
        calibration.log(
            f"Guard: {name} causes {errors[name] / total:.1%} of the output's error: {bits} bits instead of {before}"
        )
    calibration.log(f"Guard: {len(raised)} of {len(quantizers)} activations get more bits")
    if raised:
        give_bits(network, raised)
        calibration.search_bounds()
        calibration.raised = raised


register_pass(
    Pass(
        "guard",
        "`{times_mean: 1.5, bits: 8}` gives more bits to activations that cause much of the output's error, after the "
        "bound search; null gives none.",
        kind=GuardBlock | None,
        off=None,
        stage=Stage.BOUNDS,
        run=guard_activations,
    )
)
