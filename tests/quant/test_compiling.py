"""`torch.compile` and `torch.export` of a network with products in its own code: one graph, equal to the bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import Unsupported
from torch.nn import functional as F

from compsrt_plugin import native
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, discover, freeze

IMAGES = [torch.rand(1, 3, 8, side, generator=torch.Generator().manual_seed(side)) for side in (8, 16)]


class Attention(nn.Module):
    """Products of activations, and a weight that code reads."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.qkv, self.last = nn.Conv2d(3, 24, 1), nn.Linear(24, 72), nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = F.linear(self.first(x).flatten(2).transpose(1, 2), self.qkv.weight).chunk(3, -1)
        return self.last((q @ k.transpose(-2, -1) / 5).softmax(-1) @ v)


class Outer(nn.Module):
    """Products around a module with products of its own, which runs twice; attention as one function."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = Attention(), nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        y = y @ (self.last(y).transpose(-2, -1) @ y).softmax(-1)
        y = y + self.inner(y.transpose(1, 2).reshape(y.shape[0], 24, 8, -1)[:, :3])
        return F.scaled_dot_product_attention(y, y, y)


def quantized(kind: type[nn.Module], frozen: bool) -> nn.Module:
    network = kind().eval()
    spec = NetworkSpec(weight=QuantSpec(3), activation=QuantSpec(3))
    convert(network, spec, discover(network, IMAGES))
    calibrate(network, IMAGES)
    return freeze(network) if frozen else network


@pytest.fixture(params=["kernels", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both with the compiled kernels and without."""
    if request.param == "torch":
        monkeypatch.setattr(native, "usable", lambda *_: False)
    torch.compiler.reset()
    yield request.param
    torch.compiler.reset()


@pytest.mark.parametrize(("kind", "frozen"), [(Attention, True), (Outer, False)])
def test_it_is_one_graph_with_the_same_bits_for_every_size(way: str, kind: type[nn.Module], frozen: bool) -> None:
    network = quantized(kind, frozen)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.no_grad():
        for image in IMAGES:
            assert torch.equal(compiled(image), network(image))


def test_its_gradients_are_those_of_the_network() -> None:
    network = quantized(Attention, frozen=False)
    found = []
    for call in (network, torch.compile(network, backend="aot_eager", fullgraph=True)):
        network.zero_grad()
        call(IMAGES[0]).square().sum().backward()
        found.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    eager, compiled = found
    assert eager.keys() == compiled.keys() and any("q_quantizer" in name for name in eager)
    for name, gradient in eager.items():
        torch.testing.assert_close(compiled[name], gradient)


@pytest.mark.parametrize(("kind", "frozen"), [(Attention, True), (Outer, False)])
def test_an_exported_network_has_the_operators_and_the_same_bits(way: str, kind: type[nn.Module], frozen: bool) -> None:
    network = quantized(kind, frozen)
    with torch.no_grad():
        wanted = network(IMAGES[0])
        program = torch.export.export(network, (IMAGES[0],), strict=False)
        assert torch.equal(program.module()(IMAGES[0]), wanted)
    called = {str(node.target) for node in program.graph.nodes}
    assert ("compsrt.quantized_product.default" in called) == (way == "kernels")


def test_a_product_that_was_not_there_is_refused_in_a_graph_too() -> None:
    network = quantized(Attention, frozen=False)
    vars(network)["sites"] = vars(network)["sites"][:1]
    with pytest.raises(Unsupported, match="wrong_number"):
        torch.compile(network, backend="eager", fullgraph=True)(IMAGES[0])
