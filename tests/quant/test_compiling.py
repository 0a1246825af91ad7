"""`torch.compile` of a network with products in its own code: they run in eager PyTorch, equal to the bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
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


@pytest.fixture(params=["kernels", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both with the compiled kernels and without."""
    if request.param == "torch":
        monkeypatch.setattr(native, "usable", lambda *_: False)
    torch.compiler.reset()
    yield request.param
    torch.compiler.reset()


@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
def test_it_gives_the_same_bits_for_every_size(way: str, frozen: bool) -> None:
    network = Attention().eval()
    spec = NetworkSpec(weight=QuantSpec(3), activation=QuantSpec(3))
    convert(network, spec, discover(network, IMAGES))
    calibrate(network, IMAGES)
    compiled = torch.compile(freeze(network) if frozen else network, backend="eager")
    with torch.no_grad():
        for image in IMAGES:
            assert torch.equal(compiled(image), network(image))
