"""Distillation loss DQC, distillation quantization calibration (2DQuant, arXiv 2406.06649), and its gradient.

    L = L1(O_q, O_f) + feature_weight * sum_k MSE(F_q^k / ||F_q^k||, F_f^k / ||F_f^k||) + target_weight * L1(O_q, Y)

O is the output image, F^k the output of residual group k, q the quantized student, f the full-precision teacher, Y the
original. The norm is over tokens and channels of one image and is a constant for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from compsrt_plugin.config.blocks import DistillBlock
from compsrt_plugin.training.features import Features, feature_loss, feature_modules


class Distillation:
    """Compute the loss L of a student and its gradient.

    Args:
        student: the network to train: quantized with quantizers on, or full precision.
        teacher: the network to learn from, without gradient; None: learn from the original images alone.
        block: weights of the terms, and the number of parts in which a batch is run.

    Attributes:
        student: called for the student's output; may be replaced by a wrapper (mixed precision).
        features: recorders of the student's and the teacher's features; None without a feature term.

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
                get_root_logger().warning(
                    "Distillation compares no features: the network has no list of modules of one class"
                )

    def terms(self, lq: Tensor, gt: Tensor | None, target: Tensor | None = None) -> dict[str, Tensor]:
        """Return the weighted terms of L by name: `output`, `feature`, `target`; terms that do not apply are left out.

        Args:
            lq: (b, 3, h, w) in 0..1, h and w multiples of the window.
            gt: (b, 3, h * scale, w * scale); only needed if `target_weight` is not 0.
            target: the teacher's output O_f, if it is known already.
        """
        if target is None and self.teacher is not None:
            with torch.no_grad():
                target = self.teacher(lq)
        output = self.student(lq)
        terms = {} if target is None else {"output": F.l1_loss(output, target)}
        if self.features is not None:
            student, teacher = self.features
            terms["feature"] = self.block.feature_weight * feature_loss(student.take(), teacher.take())
        if self.block.target_weight and gt is not None:
            terms["target"] = self.block.target_weight * F.l1_loss(output, gt)
        return terms

    def backward(self, lq: Tensor, gt: Tensor | None, target: Tensor | None = None) -> dict[str, Tensor]:
        """Add the gradient of L over the batch to the parameters, part by part; arguments as in `terms`.

        Each part has the weight of its number of images, so that the sum is the mean over the batch.

        Returns:
            The terms of L over the batch, as in `terms`, without gradient.
        """
        total: dict[str, Tensor] = {}
        parts = min(self.block.accumulate, len(lq))
        originals, targets = ([None] * parts if x is None else x.chunk(parts) for x in (gt, target))
        for part, original, of_teacher in zip(lq.chunk(parts), originals, targets):
            terms = self.terms(part, original, of_teacher)
            share = len(part) / len(lq)
            (torch.stack(list(terms.values())).sum() * share).backward()
            for name, value in terms.items():
                total[name] = total.get(name, 0) + share * value.detach()
        return total


def first_not_finite(network: nn.Module, lq: Tensor) -> str | None:
    """Return the dotted name of the first module, in order of execution, whose output holds NaN or infinity.

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

    # A module returns before those that contain it, so that the first one found is the innermost.
    handles = [watch(name, module) for name, module in network.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
