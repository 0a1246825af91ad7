"""DQC, distillation quantization calibration (2DQuant, arXiv 2406.06649): what the student learns from the teacher.

    L = L1(O_q, O_f) + feature_weight * sum_k MSE(F_q^k / ||F_q^k||, F_f^k / ||F_f^k||) + target_weight * L1(O_q, Y)

O is the picture, F^k the output of residual group k, q the quantized student, f the full-precision teacher, Y the
original. The norm is over tokens and channels of one image and is a constant to the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from compsrt_plugin.config.schema import DistillBlock
from compsrt_plugin.training.features import feature_modules

TINY = 1e-12  # keeps an all-zero feature from dividing by zero


class Features:
    """The outputs of some modules of a network, caught by forward hooks.

    Args:
        network: whose modules.
        names: their dotted names, in module order.

    Attributes:
        outputs: what they returned in the last forward pass, in the same order; of a tuple the first.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        self.names = names
        self.outputs: list[Tensor] = []
        for name in self.names:
            network.get_submodule(name).register_forward_hook(self._catch)

    def _catch(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if len(self.outputs) == len(self.names):
            self.outputs = []  # a new pass begins
        self.outputs.append(output[0] if isinstance(output, (tuple, list)) else output)

    def take(self) -> list[Tensor]:
        """Return the outputs of the last pass, and hold them no longer."""
        outputs, self.outputs = self.outputs, []
        return outputs


def unit_energy(feature: Tensor) -> Tensor:
    """Return F / ||F||, the norm over all axes but the first (the image), and without a gradient.

    Args:
        feature: (b, tokens, channels), or (b, channels, h, w).
    """
    norm = torch.linalg.vector_norm(feature.detach(), dim=tuple(range(1, feature.dim())), keepdim=True)
    return feature / norm.clamp_min(TINY)


def feature_loss(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Return sum_k MSE(F_q^k / ||F_q^k||, F_f^k / ||F_f^k||), a scalar."""
    return torch.stack([F.mse_loss(unit_energy(q), unit_energy(f)) for q, f in zip(student, teacher)]).sum()


class Distillation:
    """Runs student and teacher on a batch and leaves the gradient of L in the student's parameters.

    Args:
        student: the network to train: quantized, quantizers on, or in full precision.
        teacher: the network it learns from, which gets no gradient; None: the original alone teaches.
        block: weights of the terms, and in how many parts a batch is run.

    Attributes:
        student: what is called for the student's output; may be put in a wrapper's place (mixed precision).

    Raises:
        CompSRTError: if `distill.features` matches nothing.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module | None, block: DistillBlock) -> None:
        self.student: Callable[[Tensor], Tensor] = student.eval()
        self.teacher, self.block = teacher, block
        self.features = None
        if teacher is not None:
            teacher.eval()
        if teacher is not None and block.feature_weight:
            names = feature_modules(teacher, block.features)
            if names:
                self.features = Features(student, names), Features(teacher, names)
            else:
                get_root_logger().warning("Distillation compares no features: there is no series of equal modules")

    def terms(self, lq: Tensor, gt: Tensor | None, wanted: Tensor | None = None) -> dict[str, Tensor]:
        """Return the terms of L, weighted, by name: with a teacher `output`, and if they count `feature` and `target`.

        Args:
            lq: (b, 3, h, w) in 0..1, h and w whole windows.
            gt: (b, 3, h * scale, w * scale); only needed if `target_weight` is not 0.
            wanted: the teacher's picture O_f, where it is known already.
        """
        if wanted is None and self.teacher is not None:
            with torch.no_grad():
                wanted = self.teacher(lq)
        output = self.student(lq)
        terms = {} if wanted is None else {"output": F.l1_loss(output, wanted)}
        if self.features is not None:
            student, teacher = self.features
            terms["feature"] = self.block.feature_weight * feature_loss(student.take(), teacher.take())
        if self.block.target_weight and gt is not None:
            terms["target"] = self.block.target_weight * F.l1_loss(output, gt)
        return terms

    def backward(self, lq: Tensor, gt: Tensor | None, wanted: Tensor | None = None) -> dict[str, Tensor]:
        """Add the gradient of L over the batch to the parameters, part by part; arguments as of `terms`.

        Each part weighs as its number of images, so the sum is the whole batch's mean.

        Returns:
            The terms of L over the batch, as `terms`, without gradient.
        """
        total: dict[str, Tensor] = {}
        parts = min(self.block.accumulate, len(lq))
        targets, pictures = ([None] * parts if x is None else x.chunk(parts) for x in (gt, wanted))
        for part, target, picture in zip(lq.chunk(parts), targets, pictures):
            terms = self.terms(part, target, picture)
            share = len(part) / len(lq)
            (torch.stack(list(terms.values())).sum() * share).backward()
            for name, value in terms.items():
                total[name] = total.get(name, 0) + share * value.detach()
        return total


def first_not_finite(network: nn.Module, lq: Tensor) -> str | None:
    """Return the dotted name of the first module whose output holds NaN or infinity, in order of execution.

    Args:
        network: any network.
        lq: its input.
    """
    found: list[str] = []
    with _watched(network, found), torch.no_grad():
        network(lq)
    return found[0] if found else None


@contextmanager
def _watched(network: nn.Module, found: list[str]) -> Iterator[None]:
    def watch(name: str, module: nn.Module) -> RemovableHandle:
        def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
            outputs = output if isinstance(output, tuple) else (output,)
            if not all(bool(torch.isfinite(part).all()) for part in outputs if isinstance(part, Tensor)):
                found.append(name)

        return module.register_forward_hook(look)

    # A module ends before those it is part of, so the first one that complains is the innermost.
    handles = [watch(name, module) for name, module in network.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
