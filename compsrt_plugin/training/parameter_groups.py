"""Parameter groups of a student: learning rates, gradients, moving average, and the candidate for the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.config.blocks import DistillBlock
from compsrt_plugin.packed.network_state import round_unquantized
from compsrt_plugin.quant import named_quantizers

BOUNDS, DECOMPOSITION, WEIGHTS = "bounds", "decomposition", "weights"
ALIGNED = 16  # elements: 64 bytes, the alignment of torch's own allocations


class ParameterGroups:
    """Group the trained parameters of a student by kind: bounds (l, u), decomposition (alpha, beta), weights.

    All other parameters lose `requires_grad`, so that no gradient is computed for them. Parameters of one kind become
    views of one vector, and their gradients views of another. A network has about 1,700 trained parameters, mostly
    scalars; clipping, averaging and stepping them one by one would take a tenth of an iteration.

    Args:
        student: the network, on its device; if quantized, with its bounds searched.
        block: what is trained, and the learning rates.
        ema_decay: decay of the moving average, which is then the candidate; 0: no average.
        rounded: whether the file will store unquantized parameters as fp16.
        correct_output: called for each candidate, to correct its output; None: no correction.

    Attributes:
        kinds: kind -> name -> parameter; kinds without parameters are left out.
        vectors: kind -> all its parameters, concatenated.
        average: kind -> moving average of its vector; empty without one.
        ranges: kind -> the initial u - l of each parameter's quantizer, by which `relative_lr` multiplies; empty
            without `relative_lr`.
    """

    def __init__(
        self,
        student: nn.Module,
        block: DistillBlock,
        ema_decay: float = 0.0,
        rounded: bool = True,
        correct_output: Callable[[], object] | None = None,
    ) -> None:
        self.student, self.block, self.ema_decay, self.rounded = student, block, ema_decay, rounded
        self.correct_output = correct_output
        kind_of: dict[int, str] = {}
        widths: dict[int, Tensor] = {}
        for _, quantizer in named_quantizers(student):
            kind_of[id(quantizer.lower)] = kind_of[id(quantizer.upper)] = BOUNDS
            for parameter in quantizer.parameters():
                kind_of.setdefault(id(parameter), DECOMPOSITION)
                widths[id(parameter)] = (quantizer.upper - quantizer.lower).detach().clone()
        kinds: dict[str, dict[str, nn.Parameter]] = {BOUNDS: {}, DECOMPOSITION: {}, WEIGHTS: {}}
        for name, parameter in student.named_parameters():
            kind = kind_of.get(id(parameter), WEIGHTS)
            parameter.requires_grad_(kind != WEIGHTS or block.train_weights)
            if parameter.requires_grad:
                kinds[kind][name] = parameter
        self.kinds = {kind: parameters for kind, parameters in kinds.items() if parameters}
        self.vectors = {kind: _joined(list(parameters.values())) for kind, parameters in self.kinds.items()}
        self.ranges: dict[str, Tensor] = {}
        for kind in self.kinds.keys() - {WEIGHTS} if block.relative_lr else ():
            self.ranges[kind] = _padded([widths[id(p)].expand_as(p) for p in self.kinds[kind].values()])
        self.average = self.values() if ema_decay else {}

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients of the vectors."""
        return [vector.grad for vector in self.vectors.values() if vector.grad is not None]

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups, one for each kind.

        Args:
            lr: learning rate of the bounds; `distill:` gives the others.
        """
        block = self.block
        decomposition = lr if block.lr_decomposition is None else block.lr_decomposition
        rates = {BOUNDS: lr, DECOMPOSITION: decomposition, WEIGHTS: block.lr_weights}
        return [{"params": [vector], "lr": rates[kind]} for kind, vector in self.vectors.items()]

    def zero_gradients(self) -> None:
        """Set the gradients to zero; backward passes add to them."""
        for gradient in self.gradients:
            gradient.zero_()

    def not_finite(self) -> str | None:
        """Return the name of the first parameter whose gradient holds NaN or infinity, or None."""
        if all(bool(torch.isfinite(gradient).all()) for gradient in self.gradients):
            return None
        named = [item for kind in self.kinds.values() for item in kind.items()]
        return next(name for name, p in named if p.grad is not None and not torch.isfinite(p.grad).all())

    def clip_gradients(self) -> None:
        """Clip every gradient to ± `distill.gradient_clip` (CompSRT: 1.0)."""
        if self.block.gradient_clip is not None:
            for gradient in self.gradients:
                gradient.clamp_(-self.block.gradient_clip, self.block.gradient_clip)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take one step of the optimizer and update the average.

        With `relative_lr` the step of a quantizer's parameters is multiplied by its initial range u - l. (LSQ scales
        gradients for the same purpose, but Adam cancels any scale of the gradient.)
        """
        before = {kind: self.vectors[kind].detach().clone() for kind in self.ranges}
        optimizer.step()
        with torch.no_grad():
            for kind, width in self.ranges.items():
                vector = self.vectors[kind]
                vector.copy_(before[kind] + width * (vector - before[kind]))
            for kind, value in self.average.items():
                value.lerp_(self.vectors[kind], 1 - self.ema_decay)

    def values(self) -> dict[str, Tensor]:
        """Return a copy of the vectors."""
        return {kind: vector.detach().clone() for kind, vector in self.vectors.items()}

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Set the trained parameters to these values."""
        with torch.no_grad():
            for kind, vector in self.vectors.items():
                vector.copy_(values[kind])

    def settle(self, values: Mapping[str, Tensor]) -> None:
        """Set the student to what the file would hold of these values: rounded if `rounded`, then corrected."""
        self.load(values)
        if self.rounded:
            round_unquantized(self.student)
        if self.correct_output is not None:
            self.correct_output()

    def candidate(self) -> dict[str, Tensor]:
        """Return a copy of what would be the result if training ended here: the average, or the parameters."""
        return {kind: value.clone() for kind, value in self.average.items()} if self.average else self.values()

    @contextmanager
    def candidate_loaded(self) -> Iterator[None]:
        """Within the context, the student is what the file would hold (see `settle`); afterwards it is as before."""
        parameters = list(self.student.parameters())
        before = [parameter.detach().clone() for parameter in parameters]
        self.settle(self.candidate())
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(parameters, before):
                    parameter.copy_(value)


def _padded(tensors: Sequence[Tensor]) -> Tensor:
    """Return the tensors concatenated, each beginning at a multiple of `ALIGNED` elements."""
    return torch.cat([F.pad(tensor.detach().flatten(), (0, -tensor.numel() % ALIGNED)) for tensor in tensors])


def _joined(parameters: list[nn.Parameter]) -> nn.Parameter:
    """Make parameters and their gradients views of a vector as `_padded` lays it out; return the vector."""
    vector = nn.Parameter(_padded(parameters))
    vector.grad = torch.zeros_like(vector)
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = vector.data[start:end].view_as(parameter)
        parameter.grad = vector.grad[start:end].view_as(parameter)
        start = end + -end % ALIGNED
    return vector
