"""Output bias correction: subtract the mean error of the output from the bias of the last layer.

The errors of quantized layers do not all average out. The rest is a color cast, almost the same in all images: up to a
quarter of the squared error of SwinIR-light at 4 bits. Distillation makes it larger about as often as smaller. The bias
of the last layer can remove it. (Nagel et al., arXiv 1906.04721, correct every layer; correcting earlier layers too
gave no further gain here, see docs/notes/training.md.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compsrt_plugin.quant.modes import evaluating, removed
from compsrt_plugin.quant.passes.registry import Calibration, Pass, Stage, register_pass

LAYERS = (nn.Linear, nn.Conv2d)  # of the full-precision network


class BiasCorrection:
    """Set the last bias of a student so that its mean outputs on calibration patches equal those of its teacher.

    Args:
        student: the quantized network.
        teacher: the full-precision network, with the same layer names.
        patches: inputs, (b, 3, h, w) each.

    Attributes:
        name: name of the last layer with a bias in both networks; None if there is none.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, patches: Sequence[Tensor]) -> None:
        self.student, self.patches = student, patches
        ours = dict(student.named_modules())
        self.name = None
        for name in _order(teacher, patches[0]):
            bias, other = getattr(teacher.get_submodule(name), "bias", None), getattr(ours.get(name), "bias", None)
            if isinstance(bias, nn.Parameter) and isinstance(other, nn.Parameter) and bias.shape == other.shape:
                self.name = name
        self._wanted = None if self.name is None else _mean_output(teacher, self.name, patches)

    def apply(self) -> float:
        """Set the bias, rounded to half precision.

        Returns:
            The largest change of the bias, in units of the output (an image has 0..1); 0 without a layer.
        """
        if self.name is None or self._wanted is None:
            return 0.0
        change = self._wanted - _mean_output(self.student, self.name, self.patches)
        bias = self.student.get_submodule(self.name).bias
        assert isinstance(bias, nn.Parameter)
        with torch.no_grad():
            bias.copy_((bias + change).half())
        return float(change.abs().max())


def _order(network: nn.Module, patch: Tensor) -> list[str]:
    """Return the names of the layers that run, in the order in which they finish."""
    names: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: names.append(name))
        for name, module in network.named_modules()
        if isinstance(module, LAYERS)
    ]
    with removed(handles), evaluating(network), torch.no_grad():
        network(patch)
    return names


def _mean_output(network: nn.Module, name: str, patches: Sequence[Tensor]) -> Tensor:
    """Return the mean of each output channel of a layer, (channels,), float64."""
    sums: list[Tensor] = []
    layer = network.get_submodule(name)
    channels = layer.bias.numel()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]

    def add(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        axis = -1 if output.shape[-1] == channels and output.dim() != 4 else 1
        sums.append(output.movedim(axis, -1).flatten(0, -2).double().mean(0))

    with removed([layer.register_forward_hook(add)]), evaluating(network), torch.no_grad():
        for patch in patches:
            network(patch)
    return torch.stack(sums).mean(0)


def correct_bias(calibration: Calibration, _on: bool) -> None:
    """Correct the last bias; the teacher runs at the first call only, which also logs the change."""
    correction = calibration.memory.get("bias_correction")
    if correction is not None:
        correction.apply()
        return
    patches = list(calibration.patches("bias correction"))
    correction = BiasCorrection(calibration.network, calibration.teacher(), patches)
    calibration.memory["bias_correction"] = correction
    calibration.log(f"Bias of {correction.name} corrected by at most {correction.apply():.2g}")


register_pass(
    Pass(
        "bias_correction",
        "subtract the mean output error on the calibration patches from the last bias, after the bound search and for "
        "every candidate for the result.",
        kind=bool,
        off=False,
        stage=Stage.OUTPUT,
        run=correct_bias,
        needs_teacher=True,
    )
)
