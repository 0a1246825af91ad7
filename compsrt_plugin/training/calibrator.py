"""Calibration before the first iteration: which steps run, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from basicsr.utils import get_root_logger
from torch import nn

from compsrt_plugin.config.blocks import PruneBlock
from compsrt_plugin.config.recipes import QuantOptions
from compsrt_plugin.packed.network_state import round_unquantized
from compsrt_plugin.quant.passes.bias_correction import BiasCorrection
from compsrt_plugin.report.versions import versions
from compsrt_plugin.training.calibration_steps import (
    condition_weights,
    equalize_inputs,
    guard_activations,
    round_weights,
    search_bounds,
)
from compsrt_plugin.training.gradual_pruning import GradualPruning
from compsrt_plugin.training.patches import Patches


class Calibrator:
    """Convert a full-precision network to a quantized one and calibrate it.

    Args:
        network: full precision, with the methods of our arch classes; converted in place.
        quant: the settled `quant:` block.
        prune: what is pruned; None prunes nothing.
        patches: calibration patches.
        teacher: returns the full-precision network; called only if the output's bias is corrected.

    Attributes:
        pruning: computes masks before the bound search and between iterations.
        raised: activations to which `quant.guard` gave more bits -> their bits.
    """

    raised: Mapping[str, int] = MappingProxyType({})

    def __init__(
        self,
        network: Any,
        quant: QuantOptions,
        prune: PruneBlock | None,
        patches: Patches,
        teacher: Callable[[], nn.Module],
    ) -> None:
        self.network, self.quant, self.patches, self._teacher = network.eval(), quant, patches, teacher
        get_root_logger().info(f"Quantization: {quant.to_dict()}")
        network.quantize(quant.spec)
        self.pruning = GradualPruning(network, prune, patches)

    def calibrate(self, rounds_unquantized: bool) -> None:
        """Run all steps on the calibration patches.

        Args:
            rounds_unquantized: whether parameters without codes are rounded to what the packed file stores before
                the bias is corrected; true where no iterations follow.
        """
        quant = self.quant
        if quant.conditioning is not None:
            condition_weights(self.network, self.patches, quant.conditioning)
        if quant.equalization:
            equalize_inputs(self.network, self.patches)
        self.pruning.step(0)
        search_bounds(self.network, self.patches)
        if quant.guard is not None:
            self.raised = guard_activations(self.network, self.patches, quant.guard)
        if quant.rounding == "gptq":
            round_weights(self.network, self.patches)
        if rounds_unquantized:
            round_unquantized(self.network)
        if self.bias_correction is not None:
            change = self.bias_correction.apply()
            get_root_logger().info(f"Bias of {self.bias_correction.name} corrected by at most {change:.2g}")

    @cached_property
    def bias_correction(self) -> BiasCorrection | None:
        """The correction of the output's mean error (`quant.bias_correction`), or None."""
        if not self.quant.bias_correction:
            return None
        return BiasCorrection(self.network, self._teacher(), list(self.patches("bias correction")))

    def header(self, arch: Mapping[str, Any], **provenance: Any) -> dict[str, Any]:
        """Return the header of the packed file of the calibrated network.

        Args:
            arch: the block that builds the network.
            **provenance: how it was made, besides what the `quant:` block says; `weights_trained` among it.
        """
        quant = self.quant
        return {
            "arch": dict(arch),
            "spec": quant.spec.with_bits(self.raised).to_dict(),
            "provenance": {
                "recipe": quant.recipe,
                "bits": quant.bits,
                "conditioning": quant.conditioning,
                "rounding": quant.rounding,
                "equalization": quant.equalization,
                "bias_correction": quant.bias_correction,
                "versions": versions(),
                **provenance,
            },
        }
