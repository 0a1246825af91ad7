"""The task of quantizing a network: calibrate it, distil the teacher into it, write a packed file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import nn

from compsrt_plugin.config.run_options import RunOptions
from compsrt_plugin.packed.download import file_sha256
from compsrt_plugin.packed.header import pack_options
from compsrt_plugin.packed.network_state import save_network
from compsrt_plugin.quant import Mode, freeze, quantized_layers, set_mode
from compsrt_plugin.quant.sensitivity import give_bits
from compsrt_plugin.training.calibrator import Calibrator
from compsrt_plugin.training.option_text import option_text
from compsrt_plugin.training.patches import CalibrationPatches
from compsrt_plugin.training.task import Outcome, Task
from compsrt_plugin.training.trainer import Trainer


class Quantization(Task):
    """Quantize a full-precision network.

    Args:
        network: full precision, with its weights loaded; converted in place.
        options: our blocks of the options, `quant` among them.
        opt: BasicSR's parsed options.
        teacher: returns the full-precision network, in eval mode, without gradients.
        teacher_file: file of its weights.
        device: where the network is.

    Raises:
        CompSRTError: options that cannot be used.
    """

    start_label = "bounds only"

    def __init__(
        self,
        network: nn.Module,
        options: RunOptions,
        opt: Mapping[str, Any],
        teacher: Callable[[], nn.Module],
        teacher_file: str,
        device: torch.device,
    ) -> None:
        assert options.quant is not None
        self.network, self.quant, self.opt = network, options.quant, opt
        self._teacher, self._teacher_file = teacher, teacher_file
        patches = CalibrationPatches(opt, self.quant.calibration, device)
        self.calibrator = Calibrator(network, self.quant, options.prune, patches, teacher)
        self.final_from = self.calibrator.pruning.end
        self.distill = options.distill

    def prepare(self, iterations: int) -> None:
        """Run all steps of calibration."""
        self.calibrator.calibrate(rounds_unquantized=not iterations)

    def before_iteration(self, iteration: int) -> None:
        """Prune further, if the schedule has a step here."""
        self.calibrator.pruning.step(iteration)

    def trainer(self, ema_decay: float) -> Trainer:
        """Return the trainer of the bounds, and of the weights if `distill.train_weights` is set."""
        return Trainer(
            self.network, self._teacher(), self.distill, ema_decay, correct_output=self.calibrator.correct_output
        )

    @property
    def trains_weights(self) -> bool:
        """Whether weights are trained, or changed by a calibration pass."""
        has_iterations = int(self.opt["train"]["total_iter"]) > 0
        return self.quant.changes_weights or (has_iterations and self.distill.train_weights)

    def identity(self) -> dict[str, Any]:
        """Return the SHA-256 of the teacher's file and our blocks of the option file."""
        return {
            "teacher": file_sha256(Path(self._teacher_file)),
            "network_g": {k: v for k, v in self.opt["network_g"].items() if k != "quant"},
            "quant": self.quant.to_dict(),
            "prune": self.opt.get("prune"),
            "distill": self.opt.get("distill"),
        }

    def state(self) -> dict[str, Any]:
        """Return the activations that got more bits."""
        return {"raised": dict(self.calibrator.calibration.raised)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Load the quantized network of a training state and switch the quantizers on."""
        raised = self.calibrator.calibration.raised = dict(state.get("raised", {}))
        give_bits(self.network, raised)
        for _, layer in quantized_layers(self.network):
            layer.weight_mask = None  # the state holds the masks of its iteration
        super().restore(state)
        set_mode(self.network, Mode.ON)

    def write_result(self, path: Path, outcome: Outcome, first: bool) -> None:
        """Write the packed file; the network is frozen afterwards, in every process."""
        if not first:
            freeze(self.network)
            return
        size = save_network(path, self.network, self._header(outcome))
        get_root_logger().info(f"Packed network: {path}, {size:,d} bytes")

    def _header(self, outcome: Outcome) -> dict[str, Any]:
        identity = outcome.identity
        return self.calibrator.header(
            identity["network_g"],
            name=self.opt["name"],
            prune=identity["prune"],
            weights_trained=self.trains_weights,
            iterations=outcome.iterations,
            **({"changed": list(outcome.changed)} if outcome.changed else {}),
            chosen=outcome.selected,
            teacher_sha256=identity["teacher"],
            calibration=self.opt["datasets"]["train"]["name"],
            seed=self.opt["manual_seed"],
            options=pack_options(option_text(self.opt)),
        )
