"""The iterations of a training run: gradient, checks, optimizer step, and the state between two iterations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.config.blocks import DistillBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.processes import average
from compsrt_plugin.training.distillation import Distillation, first_not_finite
from compsrt_plugin.training.parameter_groups import ParameterGroups
from compsrt_plugin.training.selection import Selection
from compsrt_plugin.training.states import random_states, restore_random_states
from compsrt_plugin.training.stop_request import StopRequest

EXPLODED = 1000.0  # a loss of this many times the first one stops the run


class Trainer:
    """Train the parameters of a student by distillation.

    Args:
        student: a quantized network with its bounds searched and quantizers on, or a full-precision network.
        teacher: the network to learn from; None: learn from the original images alone.
        block: the option file's `distill:`.
        ema_decay: BasicSR's `train.ema_decay`.
        rounded: whether the file will store unquantized parameters as fp16; false for full precision.
        correct_output: called for each candidate, to correct its output; None: no correction.

    Attributes:
        parameters: the trained parameters and their average.
        selection: the best candidate so far.
        losses: terms of the loss for each iteration, in order.
        stop_request: notes SIGTERM and Ctrl-C.
        to_stop: whether any process had a stop request at the last step; equal in all processes.

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
        correct_output: Callable[[], object] | None = None,
    ) -> None:
        self.student = student
        self.parameters = ParameterGroups(student, block, ema_decay, rounded, correct_output)
        self.distillation = Distillation(student, teacher, block)
        self.selection = Selection()
        self.losses: list[dict[str, float]] = []
        self.stop_request = StopRequest()
        self.to_stop = False

    @property
    def iteration(self) -> int:
        """Number of iterations done."""
        return len(self.losses)

    def step(
        self, optimizer: torch.optim.Optimizer, lq: Tensor, gt: Tensor | None, target: Tensor | None = None
    ) -> dict[str, float]:
        """Run one iteration on this process's part of the batch.

        Args:
            optimizer: of the trained parameters.
            lq: (b, 3, h, w) in 0..1.
            gt: (b, 3, h * scale, w * scale), or None where the loss does not need it.
            target: the teacher's output for lq, shaped as gt; None: the teacher is run.

        Returns:
            The loss (`total`) and its terms, averaged over all processes.

        Raises:
            CompSRTError: the loss or a gradient is not finite, or the loss exploded; no parameter was changed.
        """
        self.parameters.zero_gradients()
        terms = self.distillation.backward(lq, gt, target)
        asked = lq.new_tensor(float(self.stop_request.signal != 0))
        average([*self.parameters.gradients, *terms.values(), asked])
        self.to_stop = bool(asked > 0)
        values = {name: float(value) for name, value in terms.items()}
        values["total"] = math.fsum(values.values())
        self._check(values["total"], lq)
        self.parameters.clip_gradients()
        self.parameters.step(optimizer)
        self.losses.append(values)
        return values

    def _check(self, loss: float, lq: Tensor) -> None:
        iteration = self.iteration + 1
        hint = "lower train.optim_g.lr and start again; the last good state is kept"
        if not math.isfinite(loss):
            layer = first_not_finite(self.student, lq)
            where = f"first layer whose output is not finite: {layer}" if layer else "every layer's output is finite"
            raise CompSRTError(f"iteration {iteration}: the loss is {loss}; {where}", hint=hint)
        if self.losses and loss > EXPLODED * self.losses[0]["total"]:
            first = self.losses[0]["total"]
            raise CompSRTError(f"iteration {iteration}: the loss is {loss:.3g}, it began at {first:.3g}", hint=hint)
        name = self.parameters.not_finite()
        if name is not None:
            raise CompSRTError(f"iteration {iteration}: the gradient of {name} is not finite", hint=hint)

    def offer(self, psnr: float, eligible: bool = True) -> None:
        """Offer the present candidate, with its PSNR in dB, to the selection."""
        self.selection.offer(self.iteration, psnr, self.parameters.candidate(), eligible)

    def load_result(self) -> None:
        """Load the selected parameters into the student, or the last candidate if nothing was scored."""
        self.parameters.settle(self.selection.parameters or self.parameters.candidate())

    def state(self) -> dict[str, Any]:
        """Return all that the next iterations depend on, as plain values and tensors."""
        terms = list(self.losses[0]) if self.losses else []
        return {
            "network": self.student.state_dict(),
            "average": self.parameters.average,
            "ranges": self.parameters.ranges,
            "choice": self.selection.state(),
            "losses": {term: [values[term] for values in self.losses] for term in terms},
            "random": random_states(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned; the student must hold the state's network already."""
        self.parameters.average, self.parameters.ranges = state["average"], state["ranges"]
        self.selection.restore(state["choice"])
        losses = state["losses"]
        self.losses = [dict(zip(losses, values)) for values in zip(*losses.values())]
        restore_random_states(state["random"])
