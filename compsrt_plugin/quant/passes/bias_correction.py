"""The mean of the output put right: what quantization adds to every picture alike is taken off the last bias.

Errors of quantized layers do not all average out. What is left at the end is a cast of colour, much the same in all
pictures: up to a quarter of SwinIR-light's squared error at 4 bits, and distillation, whose steps are small beside it,
adds to it as often as not. The bias of the last layer can take it off (bias correction: Nagel et al., arXiv 1906.04721,
who do it in every layer; correcting layers before the last brought nothing more, see docs/notes/training.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compsrt_plugin.quant.modes import evaluating, removed

LAYERS = (nn.Linear, nn.Conv2d)  # of the full-precision network


class BiasCorrection:
    """Makes the mean outputs of a student's last layer those of its teacher, on calibration patches.

    Args:
        student: the quantized network.
        teacher: the full-precision network; layers have the same names.
        patches: inputs, (b, 3, h, w) each.

    Attributes:
        name: of the layer, the last of the teacher that has a bias and stands in the student too; None: there is none.
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
        """Set the bias to what half precision holds of the right one.

        Returns:
            The largest change of it, in units of the layer's output (a picture's are 0..1); 0 without a layer.
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
    """Return the names of the layers that run, in the order in which they end."""
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
    """Return the mean of each channel of what a layer puts out, (channels,), float64."""
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
