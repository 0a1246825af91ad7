"""1x1 convolutions between two k x k ones, as in a trunk of convolutions (`resi_connection: 3conv`).

In a transformer block, a 1x1 convolution is a linear layer on tokens. Between two k x k convolutions it is part of a
trunk, and its input has long tails that few bits cannot represent. In DAT-light at 4 bits the inputs of two such layers
cause nine tenths of the output error and cost 2.1 dB on Set5.
"""

from __future__ import annotations

from torch import nn

Marks = frozenset["str | int"]

SPATIAL = "spatial"  # only activation functions since a dense k x k convolution
POINTWISE = "pointwise "  # + name: only activation functions since that 1x1 convolution, which reads a `SPATIAL` tensor
ACTIVATIONS = frozenset(
    (
        "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "elu", "elu_", "selu", "celu", "gelu", "silu",
        "mish", "softplus", "sigmoid", "tanh", "hardtanh", "hardswish", "dropout", "contiguous", "clone",
    )
)  # fmt: skip


class TrunkConvolutions:
    """Follow tensors from convolution to convolution during one forward pass.

    Attributes:
        names: names of the 1x1 convolutions found between two dense k x k ones.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def after_layer(self, name: str, layer: nn.Module, marks: Marks) -> Marks:
        """Return the marks of the result of a layer, given the marks of its input.

        Args:
            name: name of the layer.
            layer: the module whose own code called a layer function.
            marks: marks of its input.
        """
        if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
            return frozenset()
        if layer.kernel_size == (1, 1):
            return frozenset([POINTWISE + name]) if SPATIAL in marks else frozenset()
        before = (mark for mark in marks if isinstance(mark, str) and mark.startswith(POINTWISE))
        self.names.update(mark[len(POINTWISE) :] for mark in before)
        return frozenset([SPATIAL])


def without_trunk(marks: Marks) -> Marks:
    """Return the marks that remain after a function other than an activation function."""
    return frozenset(mark for mark in marks if mark != SPATIAL and not str(mark).startswith(POINTWISE))
