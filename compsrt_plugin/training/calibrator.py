"""Calibration before the first iteration: which steps run, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from basicsr.utils import get_root_logger
from torch import nn

from compsrt_plugin.config.blocks import PruneBlock
from compsrt_plugin.config.quant_options import QuantOptions
from compsrt_plugin.packed.network_state import round_unquantized
from compsrt_plugin.quant.passes import Calibration, Stage
from compsrt_plugin.quant.passes.registry import Patches
from compsrt_plugin.report.versions import versions
from compsrt_plugin.training.gradual_pruning import GradualPruning


class Calibrator:
    """Convert a full-precision network to a quantized one and calibrate it.

    Args:
        network: full precision, with the methods of our arch classes; converted in place.
        quant: the settled `quant:` block.
        prune: what is pruned; None prunes nothing.
        patches: calibration patches.
        teacher: returns the full-precision network; called only if a pass needs it.

    Attributes:
        calibration: the network as the passes see it.
        pruning: computes masks before the bound search and between iterations.
    """

    def __init__(
        self,
        network: Any,
        quant: QuantOptions,
        prune: PruneBlock | None,
        patches: Patches,
        teacher: Callable[[], nn.Module],
    ) -> None:
        self.network, self.quant = network.eval(), quant
        get_root_logger().info(f"Quantization: {quant.to_dict()}")
        network.quantize(quant.spec)
        self.calibration = Calibration(network, patches, teacher)
        self.pruning = GradualPruning(network, prune, patches)

    def calibrate(self, rounds_unquantized: bool) -> None:
        """Run all steps on the calibration patches.

        Args:
            rounds_unquantized: whether parameters without codes are rounded to what the packed file stores before
                the passes that correct the output; true where no iterations follow.
        """
        self._run(Stage.WEIGHTS)
        self.pruning.step(0)
        self.calibration.search_bounds()
        self._run(Stage.BOUNDS)
        if rounds_unquantized:
            round_unquantized(self.network)
        self._run(Stage.OUTPUT)

    @property
    def correct_output(self) -> Callable[[], None] | None:
        """What to call for each candidate of a training run: the passes that correct the output; None without any."""
        corrects = any(step.stage is Stage.OUTPUT for step in self.quant.active)
        return (lambda: self._run(Stage.OUTPUT)) if corrects else None

    def _run(self, stage: Stage) -> None:
        for step in self.quant.active:
            if step.stage is stage:
                step.run(self.calibration, self.quant.passes[step.name])

    def header(self, arch: Mapping[str, Any], **provenance: Any) -> dict[str, Any]:
        """Return the header of the packed file of the calibrated network.

        Args:
            arch: the block that builds the network.
            **provenance: how it was made, besides what the `quant:` block says; `weights_trained` among it.
        """
        quant = self.quant
        return {
            "arch": dict(arch),
            "spec": quant.spec.with_bits(self.calibration.raised).to_dict(),
            "provenance": {
                "recipe": quant.recipe,
                "bits": quant.bits,
                **quant.plain_passes(),
                "versions": versions(),
                **provenance,
            },
        }
