"""Which parameters calibration trains, how fast each kind moves, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.checkpoint.network import round_unquantized
from compsrt_plugin.config.schema import DistillBlock
from compsrt_plugin.quant import named_quantizers

BOUNDS, DECOMPOSITION, WEIGHTS = "bounds", "decomposition", "weights"


class TrainedParameters:
    """The trained parameters of a student, in kinds: bounds (l, u), decomposition (alpha, beta), weights.

    All other parameters lose `requires_grad`, so that no gradient is computed for them.

    Args:
        student: the quantized network, bounds found.
        block: what is trained and how fast.
        ema_decay: decay of the moving average that is judged and kept; 0 judges the parameters themselves.

    Attributes:
        kinds: kind -> name -> parameter, only kinds that are there.
        average: name -> moving average; empty without one.
        ranges: name -> the first u - l of its quantizer, what `relative_lr` multiplies by; empty without it.
    """

    def __init__(self, student: nn.Module, block: DistillBlock, ema_decay: float = 0.0) -> None:
        self.student, self.block, self.ema_decay = student, block, ema_decay
        kind_of: dict[int, str] = {}
        for _, quantizer in named_quantizers(student):
            kind_of[id(quantizer.lower)] = kind_of[id(quantizer.upper)] = BOUNDS
            for parameter in quantizer.parameters():
                kind_of.setdefault(id(parameter), DECOMPOSITION)
        kinds: dict[str, dict[str, nn.Parameter]] = {BOUNDS: {}, DECOMPOSITION: {}, WEIGHTS: {}}
        for name, parameter in student.named_parameters():
            kind = kind_of.get(id(parameter), WEIGHTS)
            parameter.requires_grad_(kind != WEIGHTS or block.train_weights)
            if parameter.requires_grad:
                kinds[kind][name] = parameter
        self.kinds = {kind: parameters for kind, parameters in kinds.items() if parameters}
        self.ranges = self._first_ranges() if block.relative_lr else {}
        self.average = self.values() if ema_decay else {}

    @property
    def named(self) -> dict[str, nn.Parameter]:
        """Name -> parameter, of all kinds."""
        return {name: parameter for kind in self.kinds.values() for name, parameter in kind.items()}

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups, one for each kind.

        Args:
            lr: of the bounds; the block names the others.
        """
        block = self.block
        decomposition = lr if block.lr_decomposition is None else block.lr_decomposition
        rates = {BOUNDS: lr, DECOMPOSITION: decomposition, WEIGHTS: block.lr_weights}
        return [{"params": list(kind.values()), "lr": rates[name]} for name, kind in self.kinds.items()]

    def clip_gradients(self) -> None:
        """Clip every gradient to ± `distill.gradient_clip` (CompSRT: 1.0)."""
        if self.block.gradient_clip is not None:
            nn.utils.clip_grad_value_(list(self.named.values()), self.block.gradient_clip)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take one step of the optimizer, and let the average follow.

        With `relative_lr` the step of a quantizer's parameters is multiplied by its first range u - l. (LSQ
        scales gradients for the same end; Adam divides any such scale out again.)
        """
        named = self.named
        before = {name: named[name].detach().clone() for name in self.ranges}
        optimizer.step()
        with torch.no_grad():
            for name, width in self.ranges.items():
                named[name].copy_(before[name] + width * (named[name] - before[name]))
            for name, value in self.average.items():
                value.lerp_(named[name], 1 - self.ema_decay)

    def values(self) -> dict[str, Tensor]:
        """Return a copy of the trained parameters by name."""
        return {name: parameter.detach().clone() for name, parameter in self.named.items()}

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Give the trained parameters these values."""
        with torch.no_grad():
            for name, parameter in self.named.items():
                parameter.copy_(values[name])

    def candidate(self) -> dict[str, Tensor]:
        """Return a copy of what would be kept if calibration ended here: the average, or the parameters."""
        if not self.average:
            return self.values()
        return {name: value.clone() for name, value in self.average.items()}

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Within, the student is what the file would hold: averaged and rounded; afterwards as it was."""
        parameters = dict(self.student.named_parameters())
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self.load(self.candidate())
        round_unquantized(self.student)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(before[name])

    def _first_ranges(self) -> dict[str, Tensor]:
        """Return u - l of each quantizer's first bounds, by the names of its parameters."""
        widths = {}
        for _, quantizer in named_quantizers(self.student):
            width = (quantizer.upper - quantizer.lower).detach().clone()
            widths.update({id(parameter): width for parameter in quantizer.parameters()})
        return {name: widths[id(p)] for name, p in self.named.items() if id(p) in widths}
