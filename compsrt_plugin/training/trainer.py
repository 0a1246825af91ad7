"""The iterations of calibration: one step after the other, what is watched meanwhile, and the state between two."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.config.schema import DistillBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.processes import average
from compsrt_plugin.quant.passes.bias_correction import BiasCorrection
from compsrt_plugin.training.distillation import Distillation, first_not_finite
from compsrt_plugin.training.parameter_groups import TrainedParameters
from compsrt_plugin.training.selection import Choice
from compsrt_plugin.training.states import random_states, restore_random_states
from compsrt_plugin.training.stop_request import StopRequest

EXPLODED = 1000.0  # times the first loss


class Training:
    """Distils the teacher into the student's trained parameters.

    Args:
        student: the quantized network, bounds found, quantizers on; or one to be trained in full precision.
        teacher: the full-precision network; None: the original alone teaches.
        block: the option file's `distill:`.
        ema_decay: BasicSR's `train.ema_decay`.
        rounded: whether the file will hold 16 bits of what is no code; false in full precision.
        correction: of the last bias, made of whatever would be kept; None: no correction.

    Attributes:
        trained: the parameters and what is kept of them.
        choice: the best so far.
        losses: each iteration's terms of the loss, in order.
        stop: whether somebody asked to stop.
        to_stop: the same, agreed on by all processes at the last step.

    Raises:
        CompSRTError: if `distill.features` matches nothing.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None,
        block: DistillBlock,
        ema_decay: float,
        rounded: bool = True,
        correction: BiasCorrection | None = None,
    ) -> None:
        self.student = student
        self.trained = TrainedParameters(student, block, ema_decay, rounded, correction)
        self.distillation = Distillation(student, teacher, block)
        self.choice = Choice()
        self.losses: list[dict[str, float]] = []
        self.stop = StopRequest()
        self.to_stop = False

    @property
    def iteration(self) -> int:
        """Number of iterations done."""
        return len(self.losses)

    def step(
        self, optimizer: torch.optim.Optimizer, lq: Tensor, gt: Tensor | None, wanted: Tensor | None = None
    ) -> dict[str, float]:
        """Do one iteration on this process's part of the batch.

        Args:
            optimizer: of the trained parameters.
            lq: (b, 3, h, w) in 0..1.
            gt: (b, 3, h * scale, w * scale), or None where the loss does not need it.
            wanted: what the teacher makes of lq, like gt; None: the teacher is run.

        Returns:
            The loss (`total`) and its terms, over all processes.

        Raises:
            CompSRTError: the loss or a gradient is not finite, or the loss exploded; no parameter was changed.
        """
        self.trained.zero_gradients()
        terms = self.distillation.backward(lq, gt, wanted)
        asked = lq.new_tensor(float(self.stop.signal != 0))
        average([*self.trained.gradients, *terms.values(), asked])
        self.to_stop = bool(asked > 0)
        values = {name: float(value) for name, value in terms.items()}
        values["total"] = math.fsum(values.values())
        self._check(values["total"], lq)
        self.trained.clip_gradients()
        self.trained.step(optimizer)
        self.losses.append(values)
        return values

    def _check(self, loss: float, lq: Tensor) -> None:
        iteration = self.iteration + 1
        hint = "lower train.optim_g.lr and start anew; the last good state is kept"
        if not math.isfinite(loss):
            layer = first_not_finite(self.student, lq)
            where = f"first layer whose output is not finite: {layer}" if layer else "every layer's output is finite"
            raise CompSRTError(f"iteration {iteration}: the loss is {loss}; {where}", hint=hint)
        if self.losses and loss > EXPLODED * self.losses[0]["total"]:
            first = self.losses[0]["total"]
            raise CompSRTError(f"iteration {iteration}: the loss is {loss:.3g}, it began at {first:.3g}", hint=hint)
        name = self.trained.not_finite()
        if name is not None:
            raise CompSRTError(f"iteration {iteration}: the gradient of {name} is not finite", hint=hint)

    def offer(self, psnr: float, counts: bool = True) -> None:
        """Note the PSNR (dB) of what would be kept now; it is no candidate unless it `counts`."""
        self.choice.offer(self.iteration, psnr, self.trained.candidate(), counts)

    def load_result(self) -> None:
        """Give the student the chosen parameters, or the last ones where nothing was judged."""
        self.trained.settle(self.choice.parameters or self.trained.candidate())

    def state(self) -> dict[str, Any]:
        """Return all that the next iterations depend on: plain values and tensors."""
        terms = list(self.losses[0]) if self.losses else []
        return {
            "network": self.student.state_dict(),
            "average": self.trained.average,
            "ranges": self.trained.ranges,
            "choice": self.choice.state(),
            "losses": {term: [values[term] for values in self.losses] for term in terms},
            "random": random_states(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned; the student must have its network's values already."""
        self.trained.average, self.trained.ranges = state["average"], state["ranges"]
        self.choice.restore(state["choice"])
        losses = state["losses"]
        self.losses = [dict(zip(losses, values)) for values in zip(*losses.values())]
        restore_random_states(state["random"])
