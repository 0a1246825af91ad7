"""Plans of code of all kinds, on every level of instructions, against torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.engine import engine_available
from compsrt_plugin.engine.operators import Operators
from compsrt_plugin.engine.plan import InTorch, Native, Plan
from compsrt_plugin.engine.planner import plan_of
from compsrt_plugin.engine.tape import record
from compsrt_plugin.ops.fake_quantize import any_width
from compsrt_plugin.ops.quantized_product import Operand, fake_quantized
from engine.channels import HEADS, between_channels
from engine.coded import Code, Coded
from engine.levels import LEVELS_HERE, named

pytestmark = pytest.mark.skipif(not engine_available(), reason="the engine is not compiled here")
C, H, W = 12, 8, 16


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planned(code: Code, x: Tensor, level: str = LEVELS_HERE[0]) -> Plan:
    with torch.inference_mode():
        return plan_of(record(Coded(code), x), named(level))


def assert_same(code: Code, level: str, shape: tuple[int, ...] = (2, C, H, W), threads: int = 2) -> Plan:
    """Assert that the plan computes what the code does, on images that it was not made from."""
    plan = planned(code, torch.zeros(shape), level)
    operators = Operators(named(level), threads)
    with torch.inference_mode():
        for seed in range(2):
            x = drawn(*shape, seed=seed)
            wanted, found = code(x), plan.run(x, operators)
            assert found.shape == wanted.shape and found.dtype == wanted.dtype
            assert torch.allclose(found, wanted, rtol=1e-5, atol=3e-6), (found - wanted).abs().max()
    return plan


def in_torch(plan: Plan) -> list[str]:
    return [str(step.function) for step in plan.steps if isinstance(step, InTorch)]


ONE = {
    "sums": lambda x: 2 + (x + x[:, :1] - 3) - (1 - x),
    "products": lambda x: x * x.mean((2, 3), keepdim=True) * 0.5,
    "quotients": lambda x: x / (x.square() + 1) + 1 / (x * x + 2) - x / 4,
    "sigmoid": lambda x: torch.sigmoid(x * 30) + torch.sigmoid(x),
    "gelu": lambda x: F.gelu(x * 3),
    "silu": lambda x: F.silu(x * 8),
    "tanh": lambda x: torch.tanh(x * 4),
    "relu": lambda x: F.relu(x) - F.leaky_relu(x, 0.2),
    "roots": lambda x: (x * x + 1).sqrt() + (x**2 + 0.5).rsqrt() + (x * x) ** 0.5,
    "clamp": lambda x: -x.clamp_min(0.3),
    "rsub": lambda x: torch.rsub(x, 2.0),
    "weights": lambda x: x * drawn(C, 1, 1) + drawn(W),
    "many": lambda x: sum((x * i + i for i in range(1, 14)), x),
}


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize("name", ONE)
def test_arithmetic(name: str, level: str) -> None:
    plan = assert_same(ONE[name], level)
    assert set(in_torch(plan)) <= {"aten.mean.dim"}


def test_arithmetic_is_one_step() -> None:
    assert len(planned(lambda x: F.gelu(x * 2 + 1) * x - x.flip(1).square(), torch.zeros(2, C, H, W)).steps) == 2


def norm_of(channels: int) -> nn.LayerNorm:
    norm = nn.LayerNorm(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_layer_norms_of_tokens_and_of_planes(level: str) -> None:
    norm, plain = norm_of(C), nn.LayerNorm(C, elementwise_affine=False)
    assert not in_torch(assert_same(lambda x: norm(tokens(x)) + plain(tokens(x)), level))
    assert not in_torch(assert_same(lambda x: norm(x.permute(0, 2, 3, 1)[:, 1:]).contiguous(), level))


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (7, 1), (3, 2), ((1, 5), 1)])
@pytest.mark.parametrize("channels", [5, 16, 24, 40])
def test_depthwise_convolutions(level: str, kernel: Any, dilation: int, channels: int) -> None:
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = tuple(side // 2 * dilation for side in sides)
    conv = nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)
    plan = assert_same(lambda x: conv(x), level, (2, channels, H, W))
    assert not in_torch(plan)
    assert len(assert_same(lambda x: conv(x.permute(0, 3, 1, 2)), level, (2, H, W, channels)).steps) == 1


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_batch_norm_and_activation_are_part_of_a_convolution(level: str) -> None:
    conv, norm = nn.Conv2d(C, C, 3, padding=1, groups=C, bias=False), nn.BatchNorm2d(C).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    assert len(assert_same(lambda x: F.gelu(norm(conv(x))), level).steps) == 2  # a copy to pixels, and all of it
    assert not in_torch(assert_same(lambda x: norm(x), level))


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_shifted_windows_are_read_and_written_where_they_lie(level: str) -> None:
    norm = norm_of(C)

    def code(x: Tensor) -> Tensor:
        b = x.shape[0]
        image = x.permute(0, 2, 3, 1)
        windows = torch.roll(image, (-2, -2), (1, 2)).view(b, H // 4, 4, W // 4, 4, C).permute(0, 1, 3, 2, 4, 5)
        y = norm(windows.contiguous().view(-1, 16, C)).view(b, H // 4, W // 4, 4, 4, C)
        y = y.permute(0, 1, 3, 2, 4, 5).contiguous().view(b, H, W, C)
        return image + torch.roll(y, (2, 2), (1, 2))

    plan = assert_same(code, level)
    assert [getattr(step, "name", "") for step in plan.steps] == ["rows", "elementwise"]


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_copies_whose_last_axis_has_no_stride(level: str) -> None:
    """Windows and grids as OmniSR writes them: an axis that has a stride, or a part of one, is copied at once."""

    def windows(x: Tensor) -> Tensor:  # b c (h p) (w q) -> b (h w) c (p q)
        b, c, h, w = x.shape
        return x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c, 16).contiguous() * 2

    def grid(x: Tensor) -> Tensor:  # b (k c) (p h) (q w) -> b (c k) (h p) (w q)
        b, c, h, w = x.shape
        x = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        y = x.view(b, c, 4, h // 4, 4, w // 4).transpose(2, 3).transpose(4, 5).reshape(b, c, h, w)
        return torch.cat([y, y.flip(1)], 1)

    for code, channels in ((windows, 8), (grid, 4)):
        plan = assert_same(code, level, (1, 8, 8, 16))
        found = {step.call.channels for step in plan.steps if isinstance(step, Native) and step.name == "elementwise"}
        assert channels in found, found


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_parts_put_side_by_side(level: str) -> None:
    assert not in_torch(assert_same(lambda x: torch.cat([x * 2, x[:, 3:].roll(1, 2), x], 1), level))
    assert not in_torch(assert_same(lambda x: torch.cat(x.chunk(3, 1)[::-1], -1).contiguous(), level))
    assert not in_torch(assert_same(lambda x: torch.cat([x, x[:, C:].flip(1)], 1), level))


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_what_the_operators_lack_runs_in_torch(level: str) -> None:
    def code(x: Tensor) -> Tensor:
        order = x.mean((2, 3)).argsort(1)
        y = x.gather(1, order[:, :, None, None].expand_as(x)).softmax(1)
        return F.max_pool2d(F.pad(y.permute(0, 1, 3, 2), (1, 1, 1, 1), "reflect"), 3, 1) * 2

    assert "aten.softmax.int" in in_torch(assert_same(code, level))


def names(plan: Plan) -> list[str]:
    return [step.name for step in plan.steps if not isinstance(step, InTorch)]


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_moments_of_channels_and_largest_values(level: str) -> None:
    def normed(x: Tensor) -> Tensor:
        y = tokens(x)
        return (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()

    assert names(assert_same(normed, level)) == ["moments", "moments", "elementwise", "elementwise"]
    plan = assert_same(lambda x: F.max_pool2d(x, 3, 1, 1) + F.max_pool2d(x, (1, 5), 1, (0, 2)), level)
    assert names(plan).count("depthwise") == 2 and not in_torch(plan)


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_one_channel_and_a_sum(level: str) -> None:
    torch.manual_seed(0)
    conv, layer = nn.Conv2d(C, 1, 3, padding=1), nn.Conv2d(C, 1, 1)
    for code in (lambda x: conv(x) + x[:, 2:3], lambda x: layer(x) + x[:, 3:4]):
        assert not in_torch(assert_same(code, level))


REDUCED = {
    "mean of planes": lambda x: x.mean((2, 3), keepdim=True),
    "mean of pixels": lambda x: x.permute(0, 2, 3, 1).contiguous().mean((1, 2)),
    "pooled": lambda x: F.adaptive_avg_pool2d(x * 2, 1),
    "norm over pixels": lambda x: x.permute(0, 2, 3, 1).contiguous().flatten(1, 2).transpose(1, 2).norm(dim=-1),
    "normalized in windows": lambda x: F.normalize(x.unflatten(3, (-1, 4)).permute(0, 3, 1, 2, 4), dim=-1),
    "norm over images": lambda x: torch.linalg.vector_norm(x, dim=0),
    "all": lambda x: x.mean((0, 1, 2), keepdim=True),
}


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize("name", REDUCED)
@pytest.mark.parametrize("shape", [(2, C, H, W), (1, 40, 12, 20), (33, 3, 4, 4)])
def test_means_and_norms_over_rows(level: str, name: str, shape: tuple[int, ...]) -> None:
    plan = assert_same(REDUCED[name], level, shape)
    assert "reduction" in names(plan) and not in_torch(plan)


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_moments_of_channels_in_any_place(level: str) -> None:
    """The layer norm of OmniSR, whose channels lie side by side although they are the second axis."""

    conv = nn.Conv2d(C, 24, 1)

    def code(x: Tensor) -> Tensor:
        y = conv(x)
        centred = y - y.mean(1, keepdim=True)
        return centred / (centred.pow(2).mean(1, keepdim=True) + 1e-6).sqrt() + y.mean(1).unsqueeze(1)

    plan = assert_same(code, level)
    assert names(plan).count("moments") == 3 and not in_torch(plan)


def test_reductions_that_the_operators_lack_run_in_torch() -> None:
    def large(x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True) + x.norm(dim=1).unsqueeze(1) + x.flatten(2).mean(-1)[..., None, None]

    assert not in_torch(assert_same(large, LEVELS_HERE[0], (1, 3, 33, 32)))
    plan = assert_same(lambda x: x.mean(0) + x.var(-1, unbiased=False).mean(), LEVELS_HERE[0], (3, 1025))
    assert in_torch(plan) == ["aten.mean.dim", "aten.var.dim", "aten.mean.default"]

    def code(x: Tensor) -> Tensor:
        y = x.norm(p=1, dim=1) + x.var((2, 3)).mean() + x.var(1)
        return y + F.adaptive_avg_pool2d(x, 2).sum() + x.mean((2, 3), dtype=torch.float64).sum()

    plan = assert_same(code, LEVELS_HERE[0])
    assert "reduction" not in names(plan)


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 1), (15, 15), (24, 100)])
def test_convolutions_of_each_pixel(level: str, inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    conv, plain = nn.Conv2d(inputs, outputs, 1), nn.Conv2d(inputs, outputs, 1, bias=False)
    assert not in_torch(assert_same(lambda x: F.gelu(conv(x)) + plain(x), level, (2, inputs, H, W)))
    assert names(assert_same(lambda x: conv(x.permute(0, 3, 1, 2)), level, (1, H, W, inputs))) == ["rows"]
    assert not in_torch(
        assert_same(lambda x: x * conv(F.adaptive_avg_pool2d(x, 1)).mean(1, keepdim=True), level, (1, inputs, H, W))
    )


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize(("bits", "transform"), [(4, "hadamard_signed"), (8, "hadamard"), (6, "none")])
@pytest.mark.parametrize("channels", [8, 10, 18])
@pytest.mark.parametrize("per_token", [False, True])
def test_attention_between_channels(level: str, bits: int, transform: str, channels: int, per_token: bool) -> None:
    code, shape = between_channels(bits, transform, "hadamard", per_token), (1, 3 * HEADS * channels, 6, 14)
    plan = planned(code, torch.zeros(shape))
    assert {"gram", "mix"} <= set(names(plan)) and "compsrt.fake_quantize.default" not in in_torch(plan)[:-1]
    x = drawn(*shape)
    with torch.inference_mode():
        wanted = code(x)
        found, again = (plan.run(x, Operators(named(level), threads)) for threads in (1, 3))
    assert torch.equal(found, again)
    assert ((found - wanted).abs() > 1e-4).float().mean() < 0.02  # codes at a rounding boundary, of one pixel each


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize("transform", ["none", "hadamard", "hadamard_signed", "hadamard_softmax"])
@pytest.mark.parametrize(("channels", "per_token"), [(8, True), (10, False), (64, True)])
def test_a_quantizer_by_itself(level: str, transform: str, channels: int, per_token: bool) -> None:
    def code(x: Tensor) -> Tensor:
        y = x.softmax(-1) if transform == "hadamard_softmax" else x
        s, z = torch.tensor(0.15), torch.tensor(-1.0)
        return torch.ops.compsrt.fake_quantize.default(y, s, z, 15, transform, True, per_token) * 1

    x = drawn(2, 3, 20, channels)
    plan = planned(code, torch.zeros_like(x), level)
    assert not {"compsrt.fake_quantize.default"} & set(in_torch(plan))
    with torch.inference_mode():
        found, wanted = plan.run(x, Operators(named(level), 2)), code(x)
    assert ((found - wanted).abs() > 1e-4).float().mean() < 0.02


def test_long_rows_are_quantized_in_torch() -> None:
    def code(x: Tensor) -> Tensor:
        return torch.ops.compsrt.fake_quantize.default(
            x, torch.tensor(0.15), torch.tensor(-1.0), 15, "none", True, False
        )

    assert in_torch(assert_same(code, LEVELS_HERE[0], (1, 2, 3, 65))) == ["compsrt.fake_quantize.default"]


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_q_and_k_may_be_one_tensor(level: str) -> None:
    def code(x: Tensor) -> Tensor:
        y = x.permute(0, 2, 3, 1).reshape(1, H * W, HEADS, -1).transpose(1, 2)
        y = torch.ops.compsrt.fake_quantize.default(
            y, torch.tensor(0.3), torch.tensor(-2.0), 15, "hadamard", True, False
        )
        return y.transpose(-2, -1) @ y / 64

    x = drawn(1, 10 * HEADS, H, W)
    plan = planned(code, torch.zeros_like(x), level)
    assert names(plan) == ["gram", "elementwise"]
    with torch.inference_mode():
        assert torch.allclose(plan.run(x, Operators(named(level), 1)), code(x), rtol=1e-3, atol=0.05)


def test_the_simulated_network_is_recorded_with_heads_of_eight_channels() -> None:
    """Its kernels lack so short rows, and it quantizes them in steps of torch."""
    half, zero = torch.tensor(0.2), torch.tensor(-1.5)

    def code(x: Tensor) -> Tensor:
        both = x.permute(0, 2, 3, 1).reshape(1, -1, 2, HEADS, 8).permute(2, 0, 3, 1, 4)
        q, k = (fake_quantized(Operand(y, half, zero, 15, "hadamard_signed")) for y in both)
        return q.transpose(-2, -1) @ k

    x = torch.zeros(1, 2 * 8 * HEADS, 6, 14)
    with any_width():
        plan = planned(code, x)
    assert "gram" in names(plan)
    assert "gram" not in names(planned(code, x))


def test_memory_is_given_back_when_it_is_no_longer_needed() -> None:
    plan = planned(lambda x: F.avg_pool2d(F.avg_pool2d(x, 3, 1, 1), 3, 1, 1) * 2, torch.zeros(2, C, H, W))
    assert [len(done) for done in plan._done] == [1, 1, 1]


def test_an_input_may_have_any_strides() -> None:
    x = drawn(2, H, W, C).permute(0, 3, 1, 2)
    plan = planned(lambda x: x * 2, x)
    with torch.inference_mode():
        assert torch.equal(plan.run(x, Operators(named(LEVELS_HERE[0]), 1)), x * 2)


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 16), (16, 3), (20, 25)])
@pytest.mark.parametrize("size", [(H, W), (5, 67), (9, 130)])
def test_convolutions_of_all_channels(level: str, inputs: int, outputs: int, size: tuple[int, int]) -> None:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    shape = (2, inputs, *size)
    assert names(assert_same(lambda x: conv(x), level, shape)) == ["elementwise", "convolution"]
    assert names(assert_same(lambda x: conv(x), level, (1, *shape[1:]))) == ["convolution"]


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_a_convolution_takes_in_what_follows(level: str) -> None:
    one, two = nn.Conv2d(C, C, 3, padding=1), nn.Conv2d(C, C, 3, padding=1, bias=False)

    def code(x: Tensor) -> Tensor:
        y = F.gelu(one(x))
        return y + two(y)

    assert names(assert_same(code, level, (1, C, H, W))) == ["convolution", "convolution"]


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize("factor", [2, 3])
def test_pixels_are_shuffled_by_their_addresses(level: str, factor: int) -> None:
    up, last = nn.Conv2d(C, C * factor**2, 3, padding=1), nn.Conv2d(C, 3, 3, padding=1)
    plan = assert_same(lambda x: last(F.pixel_shuffle(up(x), factor)), level, (1, C, H, W))
    assert names(plan) == ["convolution", "convolution"]
    plan = assert_same(lambda x: F.pixel_shuffle(x, factor) * 2, level, (2, 2 * factor**2, H, W))
    assert names(plan) == ["elementwise"] and not in_torch(plan)


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_other_convolutions_run_in_torch(level: str) -> None:
    for options in ({"stride": 2}, {"padding": 0}, {"dilation": 2, "padding": 2}, {"groups": 2}):
        conv = nn.Conv2d(C, C, 3, **{"padding": 1, **options})
        assert in_torch(assert_same(lambda x, conv=conv: conv(x), level)) == ["aten.conv2d.default"]
