"""Networks of any code whose linear layers and attention run in integers, against the simulated network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.engine import Engine, engine_available, unsupported_reason
from compsrt_plugin.engine.layers import LayersEngine
from compsrt_plugin.engine.operators import Described
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import NetworkSpec, QuantLinear, QuantSpec, calibrate, convert, freeze, quantized_layers
from compsrt_plugin.quant.tracing.discovery import discover
from engine.attending import CHANNELS, HELD, NOT_HELD, Between, Network, biased, frozen, masked, with_temperature
from engine.levels import LEVELS_HERE, forced
from engine.networks import assert_same_pixels

pytestmark = pytest.mark.skipif(not engine_available(), reason="the engine is not compiled here")


def assert_same(engine: Engine, made: Network) -> None:
    side = 2 * made.attention.window
    assert_same_pixels(engine, made, (1, 3, side, side))


def attention_of(engine: Engine) -> Described:
    """Return what the engine knows of the network's attention; an error if the operators did not compute it."""
    assert isinstance(engine, LayersEngine)
    (found,) = engine._inside.attention["attention"].described.values()
    return found


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize("between", HELD)
def test_attention_of_any_code_runs_in_integers(level: str, between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    forced(level, monkeypatch)
    made = frozen(between)
    engine = Engine(made, threads=2)
    assert_same(engine, made)
    assert {part.kind for part in engine.parts} == {"linear", "attention"}
    assert not any(part.why_not for part in engine.parts)
    described = attention_of(engine)
    assert described.integer_scores == described.integer_map == (level != "plain")


@pytest.mark.parametrize("between", NOT_HELD)
def test_code_that_does_something_else_with_scores_gets_their_values(
    between: Between,
) -> None:
    made = frozen(between)
    engine = Engine(made, threads=1)
    assert_same(engine, made)
    assert isinstance(engine, LayersEngine) and not engine._inside.attention["attention"].described


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize(
    ("window", "bits", "transform", "unit"),
    [
        (8, 2, "hadamard", "per_token"),
        (8, 8, "hadamard_signed", "per_token"),
        (8, 4, "hadamard", "per_tensor"),
        (4, 4, "hadamard_signed", "per_token"),
        (8, 4, "none", "per_tensor"),
        (16, 4, "hadamard_signed", "per_token"),
        (6, 4, "hadamard_signed", "per_token"),
        (12, 4, "hadamard", "per_tensor"),
    ],
)
def test_windows_widths_and_transforms(
    level: str, window: int, bits: int, transform: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced(level, monkeypatch)
    made = frozen(window=window, bits=bits, transform=transform, unit=unit)
    engine = Engine(made, threads=2)
    assert_same(engine, made)
    assert attention_of(engine).queries == attention_of(engine).keys == window**2


@pytest.mark.parametrize("level", LEVELS_HERE)
@pytest.mark.parametrize("einsum", [False, True])
@pytest.mark.parametrize(
    ("window", "keys", "integers"), [(8, 0.25, True), (8, 1.5, False), (12, 0.5, False), (16, 0.25, True)]
)
def test_queries_attend_to_fewer_or_more_keys(
    level: str, window: int, keys: float, integers: bool, einsum: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced(level, monkeypatch)
    made = frozen(masked, window, keys=keys, einsum=einsum)
    engine = Engine(made, threads=2)
    assert_same(engine, made)
    described = attention_of(engine)
    assert (described.queries, described.keys) == (window**2, int(keys * window**2))
    assert described.integer_scores == (level != "plain")
    assert described.integer_map == (integers and level != "plain")


class Reshaped(nn.Module):
    """A sum with a linear layer's output whose result gets another shape."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        windows = self.inner.first(x).view(b, -1, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1).contiguous()
        y = windows + self.inner.attention.proj(windows.view(-1, 64, CHANNELS)).view_as(windows)
        y = F.gelu(y.permute(0, 5, 1, 3, 2, 4).reshape(b, CHANNELS, h, w))
        return self.inner.last(y)


def test_a_sum_in_windows_whose_result_is_merged() -> None:
    made = Reshaped(frozen())
    engine, x = Engine(made, threads=1), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(engine(x), made(x), atol=1e-4)
    assert isinstance(engine, LayersEngine) and engine.why_not_planned(x) == ""


def test_small_windows_are_left_to_pytorch_and_the_parts_say_so() -> None:
    made = frozen(window=3)
    engine = Engine(made, threads=1)
    assert_same(engine, made)
    assert {part.why_not for part in engine.parts if part.kind == "attention"} == {"windows of 9 queries and 9 keys"}


class MapReader(nn.Module):
    """A network that has products of its own and gets the map of attention in another module."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, 3, 3, padding=1)
        self.inner = Mapped()

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        tokens = y.flatten(2).transpose(1, 2)
        read, map_ = self.inner(tokens)
        mean = map_.transpose(-2, -1) @ tokens
        return self.last((read + mean).transpose(1, 2).view_as(y))


class Mapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        map_ = (self.q(x) @ self.k(x).transpose(-2, -1)).softmax(-1)
        return map_ @ x, map_


def test_a_map_that_another_module_reads_has_its_values() -> None:
    torch.manual_seed(0)
    made, x = MapReader().eval(), torch.rand(1, 3, 8, 8)
    convert(made, NetworkSpec(QuantSpec(4), QuantSpec(4)), discover(made, [x, torch.rand(1, 3, 16, 8)]))
    calibrate(made, [x])
    freeze(made)
    engine = Engine(made, threads=1)
    assert_same_pixels(engine, made, tuple(x.shape))
    assert isinstance(engine, LayersEngine) and engine.why_not_planned(x) == ""


def test_the_simulated_network_is_itself_again_after_a_call() -> None:
    made = frozen()
    x = torch.rand(1, 3, 16, 16)
    classes = [type(module) for module in made.modules()]
    with torch.no_grad():
        before = made(x)
        engine = Engine(made)
        engine(x)
        assert torch.equal(made(x), before)
    assert [type(module) for module in made.modules()] == classes
    made(x).sum().backward()
    assert made.attention.q_quantizer.lower.grad is not None


def test_a_mask_or_bias_that_changes_is_read_again() -> None:
    made = frozen(masked)
    engine = Engine(made)
    x = torch.rand(1, 3, 16, 16)
    before = engine(x)
    with torch.no_grad():
        made.attention.bias.mul_(-1)
        made.attention.mask.zero_()
    assert not torch.allclose(engine(x), before)
    assert_same(engine, made)


def test_a_temperature_that_changes_is_read_again() -> None:
    made = frozen(with_temperature)
    engine = Engine(made)
    before = engine(torch.rand(1, 3, 16, 16))
    with torch.no_grad():
        made.attention.temperature.mul_(2)
    assert not torch.allclose(engine(torch.rand(1, 3, 16, 16)), before)
    assert_same(engine, made)


def test_an_error_in_the_network_leaves_it_as_it_was() -> None:
    made = frozen()
    engine = Engine(made)
    with pytest.raises(RuntimeError):
        engine(torch.rand(1, 3, 16, 15))
    assert_same(engine, made)


def test_weights_stay_in_memory_as_codes() -> None:
    made = frozen()
    Engine(made)(torch.rand(1, 3, 16, 16))
    assert all(layer._decoded is None for _, layer in quantized_layers(made) if isinstance(layer, QuantLinear))


def test_what_is_not_ready_is_refused() -> None:
    plain = Network(biased)
    assert "not quantized" in (unsupported_reason(plain) or "")
    assert "codes: paper" in (unsupported_reason(with_paper_codes()) or "")
    with pytest.raises(CompSRTError, match="not quantized"):
        Engine(plain)


def with_paper_codes() -> Network:
    made = Network(biased).eval()
    x = torch.rand(1, 3, 16, 16)
    spec = NetworkSpec(QuantSpec(4, codes="paper"), QuantSpec(4, codes="paper"))
    convert(made, spec, discover(made, [x, torch.rand(1, 3, 16, 16)]))
    calibrate(made, [x])
    freeze(made)
    return made


def test_times_of_parts() -> None:
    engine = Engine(frozen(), profile=True)
    engine(torch.rand(1, 3, 16, 16))
    assert set(engine.stage_times()) == {"linear", "attention", "convolution", "elementwise", "pytorch"}
    assert all(milliseconds > 0 for milliseconds in engine.stage_times().values())
