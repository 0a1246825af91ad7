"""`convert` and `calibrate` follow the network and ignore the default device and dtype of torch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, discover, freeze, named_quantizers

TRANSFORMS = ("none", "hadamard", "hadamard_signed", "hadamard_exact", "hadamard_block")
X = torch.randn(64, 60, generator=torch.Generator("cpu").manual_seed(0))


def own_network() -> nn.Module:
    torch.manual_seed(1)
    device, dtype = "cpu", torch.float32
    layers = nn.Linear(60, 120, device=device, dtype=dtype), nn.GELU(), nn.Linear(120, 60, device=device, dtype=dtype)
    return nn.Sequential(*layers)


class Attention(nn.Module):
    """A convolution, and attention in code."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 24, 1)
        self.inner = Products()
        self.qkv = nn.Linear(24, 72)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.first(x).flatten(2).transpose(1, 2)
        return self.inner(*self.qkv(tokens).chunk(3, -1))


class Products(nn.Module):
    """Two products and no parameter of its own."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.transpose(-2, -1) / 5).softmax(-1) @ v


def quantized(transform: str = "hadamard", bits: int = 8) -> nn.Module:
    spec = QuantSpec(bits, transform)
    network = convert(own_network(), NetworkSpec(spec, spec))
    calibrate(network, [X])
    return network


@pytest.fixture(params=["dtype", "device"])
def other_default(request: pytest.FixtureRequest) -> Iterator[str]:
    try:
        if request.param == "dtype":
            torch.set_default_dtype(torch.float64)
        else:
            torch.set_default_device("meta")
        yield request.param
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("frozen", [False, True])
def test_the_same_bits_under_another_default(other_default: str, transform: str, frozen: bool):
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    wanted = quantized(transform)
    if frozen:
        freeze(wanted)
    wanted_bits = wanted(X)
    if other_default == "dtype":
        torch.set_default_dtype(torch.float64)
    else:
        torch.set_default_device("meta")
    found = quantized(transform)
    if frozen:
        freeze(found)
    assert torch.equal(found(X), wanted_bits)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_bounds_have_the_dtype_of_the_weight(dtype: torch.dtype):
    spec = QuantSpec(4)
    network = Attention().to(dtype)
    images = [torch.rand(1, 3, side, side, dtype=dtype) for side in (8, 12)]
    network = convert(network, NetworkSpec(spec, spec, conv_bits=8, conv_input_bits=8), discover(network, images))
    found = dict(named_quantizers(network))
    assert {"inner.q", "inner.v", "first.weight", "qkv.input"} <= set(found)
    assert {parameter.dtype for quantizer in found.values() for parameter in quantizer.parameters()} == {dtype}


def test_a_network_on_meta_keeps_all_its_tensors_there():
    spec = QuantSpec(4)
    network = Attention().to("meta")
    images = [torch.rand(1, 3, side, side, device="meta") for side in (8, 12)]
    network = convert(network, NetworkSpec(spec, spec, conv_bits=8, conv_input_bits=8), discover(network, images))
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    assert {buffer.device.type for buffer in network.buffers() if buffer is not None} <= {"meta"}
