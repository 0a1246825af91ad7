"""Folding shift and scale into norms keeps the function and lowers the quantization error."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import compsrt_plugin

compsrt_plugin.register()

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR  # noqa: E402
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, discover  # noqa: E402
from compsrt_plugin.quant.passes.equalization import LARGEST, best, equalize, find_norm_groups  # noqa: E402
from compsrt_plugin.quant.quantizer import Mode  # noqa: E402

SPEC = NetworkSpec(QuantSpec(4), QuantSpec(4, granularity="per_token"))
WIDTH = 12


def uneven(network: nn.Module) -> nn.Module:
    """Give every norm channels that differ in size and mean, as those of trained networks do."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if type(module) in (nn.LayerNorm, ChannelNorm):
            for parameter, size in ((module.weight, 1.0), (module.bias, 2.0)):
                parameter.data = size * torch.randn(parameter.shape, generator=generator).exp()
    return network.eval()


class ChannelNorm(nn.Module):
    """A layer norm of (b, c, h, w) along c, as many networks have their own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class Block(nn.Module):
    """Two norms and what reads them; what is odd about it, `kind` says."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.start = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.norm, self.channels = nn.LayerNorm(WIDTH), ChannelNorm(WIDTH)
        self.one = nn.Linear(WIDTH, 20, bias=kind != "no bias")
        self.two = nn.Linear(WIDTH, 20)
        self.back = nn.Linear(20, WIDTH)
        self.pointwise = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        y = self.norm(x.movedim(1, -1).flip(1))  # other orders do not matter
        if self.kind == "padded":
            missing = -y.shape[1] % 4
            z = F.gelu(self.one(F.pad(y, (0, 0, 0, 0, 0, missing)))).mean(1, keepdim=True) + self.two(y)
        else:
            z = F.gelu(self.one(y)) + self.two(y)
        x = x + self.back(z).flip(1).movedim(-1, 1)
        if self.kind == "residual":
            x = x + 0.01 * y.movedim(-1, 1)
        return x + self.pointwise(self.channels(x))


def block(kind: str = "plain") -> nn.Module:
    torch.manual_seed(0)
    network = uneven(Block(kind))
    return convert(network, SPEC, discover(network, [image(8), image(12)]))


def image(side: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def names(kind: str) -> list[str]:
    network = block(kind)
    with torch.no_grad():
        return [one.name for one in find_norm_groups(network, [image(16), image(14)])]


def test_norms_are_found_with_all_that_reads_them():
    network = block()
    with torch.no_grad():
        found = {one.name: one for one in find_norm_groups(network, [image()])}
    assert list(found) == ["norm", "channels"]
    assert set(found["norm"].layers) == {network.one, network.two}
    assert found["norm"].shifts and found["channels"].layers == (network.pointwise,)


def test_channels_are_found_in_an_image_as_wide_as_they_are_many():
    network = block()
    with torch.no_grad():
        assert [one.name for one in find_norm_groups(network, [image(WIDTH)])] == ["norm", "channels"]


def test_a_norm_that_something_else_reads_is_left_alone():
    assert names("residual") == ["channels"]


def test_a_norm_that_is_padded_at_another_size_is_left_alone():
    assert names("padded") == ["channels"]


@pytest.mark.parametrize("kind", ["plain", "no bias", "residual"])
def test_the_function_stays(kind: str):
    network = block(kind)
    with torch.no_grad():
        before = network(image(20, seed=3))
        changed = equalize(network, [image(16, seed) for seed in range(3)], [image()])
        after = network(image(20, seed=3))
    assert changed == (["channels"] if kind == "residual" else ["norm", "channels"])
    assert (after - before).abs().max() <= 1e-5 * before.abs().max()


def test_inputs_are_centred_and_weigh_the_same():
    network = block()
    equalize(network, [image()], [image()])
    seen = []
    network.one.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        network(image())
    x = seen[0].flatten(0, -2).double()
    assert x.mean(0).abs().max() < 1e-5
    columns = torch.cat([network.one.weight, network.two.weight]).detach().double().norm(dim=0)
    ratio = x.std(0, unbiased=False) / columns
    assert ratio.max() / ratio.min() < 1.01, "Cauchy and Schwarz: the two vectors are parallel"


def test_without_a_bias_inputs_are_scaled_only():
    network = block("no bias")
    with torch.no_grad():
        ratio = network.norm.bias / network.norm.weight
    equalize(network, [image()], [image()])
    assert torch.allclose(network.norm.bias / network.norm.weight, ratio, rtol=1e-4)


@pytest.mark.parametrize("bits", [2, 4])
def test_a_quantized_product_comes_nearer_to_the_true_one(bits: int):
    generator = torch.Generator().manual_seed(2)
    batch = torch.randn(4, 64, WIDTH, generator=generator)
    errors = []
    for equalized in (False, True):
        torch.manual_seed(0)
        network = uneven(nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 20)))
        wanted = network(batch).detach()
        convert(network, NetworkSpec(QuantSpec(8, "hadamard_signed"), QuantSpec(bits, "hadamard_signed", "per_token")))
        if equalized:
            assert equalize(network, [batch], [batch]) == ["0"]
        calibrate(network, [batch])
        errors.append(float((network(batch).detach() - wanted).square().mean()))
    assert errors[1] < 0.2 * errors[0]


def test_all_norms_of_swin_blocks_are_found():
    network = CompSRTSwinIR(depths=[2], num_heads=[6], img_size=16, upscale=4, quant=SPEC)
    blocks = "layers.0.residual_group.blocks"
    found = equalize(network, [image()], [image()])
    assert found == [f"{blocks}.{i}.norm{j}" for i in (0, 1) for j in (1, 2)]


def test_modes_are_as_they_were():
    network = block()
    calibrate(network, [image()])
    equalize(network, [image()], [image()])
    assert network.one.input_quantizer.mode is Mode.ON


def test_a_norm_without_a_bias_is_left_alone():
    torch.manual_seed(0)
    network = convert(nn.Sequential(nn.LayerNorm(WIDTH, bias=False), nn.Linear(WIDTH, 20)), SPEC).eval()
    assert equalize(network, [torch.rand(2, 9, WIDTH)], [torch.rand(2, 9, WIDTH)]) == []


def test_scales_are_those_that_balance_inputs_and_weights_within_limits():
    network = block()
    with torch.no_grad():
        norm = find_norm_groups(network, [image()])[0]
        mean = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)
        variance = torch.logspace(-1, 1, WIDTH, dtype=torch.float64)
        shift, scale = best(norm, mean, variance + mean.square())
        assert torch.equal(shift, mean)
        columns = torch.cat([network.one.weight, network.two.weight]).double().square().sum(0)
        wanted = (variance / columns) ** 0.25
        assert torch.allclose(scale, wanted / wanted.log().mean().exp(), rtol=1e-6)
        assert abs(float(scale.log().mean())) < 1e-6
        variance[0], variance[1] = 1e30, 0
        scale = best(norm, mean, variance + mean.square())[1]
        assert (float(scale[0]), float(scale[1])) == (LARGEST, 1 / LARGEST)
