"""A 1x1 convolution is a linear layer inside a block, and a convolution between two k x k ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import NetworkSpec, QuantConv2d, QuantSpec, calibrate, convert, discover
from compsrt_plugin.quant.layers import QuantPointwise

SIZES = [torch.rand(1, 3, 8, 8), torch.rand(1, 3, 12, 12)]


class Net(nn.Module):
    """A k x k convolution, a middle, a k x k convolution."""

    def __init__(self, *middle: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.middle = nn.Sequential(*middle)
        self.last = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


class Residual(nn.Module):
    """A block as of a transformer, its linear layers written as 1x1 convolutions."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.fc1, self.fc2, self.in_place = nn.Conv2d(16, 32, 1), nn.Conv2d(32, 16, 1), in_place

    def forward(self, x: Tensor) -> Tensor:
        if self.in_place:
            y = x.clone()
            y += 1
            y = self.fc2(F.gelu(self.fc1(y)))
            y += x
            return y
        return x + self.fc2(F.gelu(self.fc1(F.layer_norm(x, x.shape[1:]))))


def trunk(network: nn.Module) -> frozenset[str]:
    return discover(network, SIZES).trunk


@pytest.mark.parametrize(
    "activation",
    [nn.LeakyReLU(0.2), nn.LeakyReLU(0.2, inplace=True), nn.ReLU(inplace=True), nn.GELU(), nn.PReLU(), nn.Identity(),
     nn.SiLU(), nn.Dropout(0.1)],
    ids=lambda module: f"{type(module).__name__}{'_' * getattr(module, 'inplace', False)}",
)  # fmt: skip
def test_between_two_convolutions_it_is_part_of_the_trunk(activation: nn.Module) -> None:
    assert trunk(Net(activation, nn.Conv2d(16, 16, 1), activation)) == {"middle.1"}


@pytest.mark.parametrize("in_place", [False, True])
def test_inside_a_block_it_is_a_linear_layer(in_place: bool) -> None:
    assert trunk(Net(Residual(in_place))) == frozenset()


@pytest.mark.parametrize(
    "middle",
    [
        [nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)],
        [nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3, padding=1, groups=16)],
        [nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 16, 1)],
        [nn.InstanceNorm2d(16), nn.Conv2d(16, 16, 1)],
        [nn.Conv2d(16, 16, 1), nn.InstanceNorm2d(16)],
        [nn.Conv2d(16, 16, 1), nn.PixelShuffle(2), nn.PixelUnshuffle(2)],
    ],
    ids=["two", "before depth-wise", "after depth-wise", "after a norm", "before a norm", "before a shuffle"],
)
def test_next_to_anything_else_it_is_a_linear_layer(middle: list[nn.Module]) -> None:
    assert trunk(Net(*middle)) == frozenset()


def converted(spec: NetworkSpec) -> Net:
    torch.manual_seed(0)
    network = Net(
        nn.LeakyReLU(), nn.Conv2d(16, 16, 1), nn.LeakyReLU(), nn.Conv2d(16, 16, 3, padding=1), Residual(False)
    )
    convert(network, spec, discover(network, SIZES))
    return network


def test_in_the_trunk_its_weight_has_the_bits_of_convolutions_and_its_input_stays() -> None:
    network = converted(NetworkSpec(weight=QuantSpec(3), activation=QuantSpec(3), conv_bits=8))
    layer = network.middle[1]
    assert type(layer) is QuantConv2d and layer.weight_quantizer.spec.bits == 8 and layer.input_quantizer is None
    calibrate(network, SIZES)
    assert type(network.middle[4].fc1) is QuantPointwise


def test_in_the_trunk_it_stays_where_convolutions_do() -> None:
    network = converted(NetworkSpec(conv_bits=None))
    assert type(network.middle[1]) is nn.Conv2d


def test_a_spec_of_before_reads_it_as_the_linear_layer_it_was() -> None:
    written = NetworkSpec(weight=QuantSpec(3), activation=QuantSpec(3)).to_dict()
    assert type(converted(NetworkSpec.from_dict(written)).middle[1]) is QuantConv2d
    del written["trunk_pointwise"]
    assert type(converted(NetworkSpec.from_dict(written)).middle[1]) is QuantPointwise


def test_another_value_is_refused() -> None:
    with pytest.raises(CompSRTError, match="trunk_pointwise"):
        NetworkSpec(trunk_pointwise="convolution")
