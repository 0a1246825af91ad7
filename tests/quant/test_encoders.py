"""Torch's transformer encoders are quantized in eval mode too, where they have a fast path."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, discover, distinct_codes, freeze

WIDTH = 24


def near(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs differ by no more than codes on a rounding boundary: torch's attention has a fast path."""
    return bool(((one - other).abs() > 1e-3).float().mean() < 0.05)


def layer() -> nn.TransformerEncoderLayer:
    torch.manual_seed(1)
    return nn.TransformerEncoderLayer(WIDTH, 4, 48, dropout=0.0, batch_first=True)


class Upscaler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.block = nn.Conv2d(3, WIDTH, 1), layer()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.first(x).flatten(2).transpose(1, 2))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_an_encoder_is_quantized_without_gradients_as_with_them(several: bool, frozen: bool):
    encoder = nn.TransformerEncoder(layer(), 2) if several else layer()
    spec = QuantSpec(2)
    tokens = torch.randn(2, 16, WIDTH, generator=torch.Generator().manual_seed(0))
    full = copy.deepcopy(encoder).eval()(tokens)
    network = convert(encoder, NetworkSpec(spec, spec)).eval()
    calibrate(network, [tokens])
    assert set(distinct_codes(network, [tokens]).values()) <= {2, 3, 4}
    network = freeze(network) if frozen else network
    with torch.no_grad():
        found = network(tokens)
    assert near(found, network.train()(tokens))
    assert not near(found, full)


def test_an_encoder_with_a_padding_mask_is_quantized():
    spec = QuantSpec(8)
    encoder = nn.TransformerEncoder(layer(), 2).eval()
    tokens, padding = torch.randn(2, 16, WIDTH), torch.arange(16).expand(2, -1) > torch.tensor([[9], [15]])
    wanted = encoder(tokens, src_key_padding_mask=padding)
    network = convert(encoder, NetworkSpec(spec, spec)).eval()
    calibrate(network, [tokens])
    with torch.no_grad():
        found = network(tokens, src_key_padding_mask=padding)
    torch.testing.assert_close(found[~padding], wanted[~padding], atol=0.05, rtol=0)


def test_an_encoder_within_a_probed_network_is_quantized_in_eval_mode():
    spec = QuantSpec(2)
    images = [torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side)) for side in (8, 16)]
    network = Upscaler()
    network = convert(network, NetworkSpec(spec, spec), discover(network, images)).eval()
    calibrate(network, images)
    with torch.no_grad():
        found = network(images[0])
    assert near(found, network.train()(images[0]))
