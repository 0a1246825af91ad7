"""The estimated sensitivity of each activation agrees with the error if it alone is quantized."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin.quant import (
    Mode,
    NetworkSpec,
    QuantSpec,
    activation_quantizers,
    calibrate,
    convert,
    discover,
    named_quantizers,
)
from compsrt_plugin.quant.sensitivity import output_errors, raised_bits


class Attention(nn.Module):
    """Attention of one head, whose products stand in its own code."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return x + self.proj((q @ k.transpose(-2, -1) / 4).softmax(-1) @ v)


class Net(nn.Module):
    """Enlarges twice; takes multiples of four."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.attention = nn.Conv2d(3, 16, 3, padding=1), Attention()
        self.fc1, self.fc2 = nn.Linear(16, 32), nn.Linear(32, 16)
        self.last = nn.Sequential(nn.Conv2d(16, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        b, c, h, w = x.shape
        t = self.attention(x.flatten(2).transpose(1, 2))
        t = t + self.fc2(nn.functional.gelu(self.fc1(t)))
        return self.last(t.transpose(1, 2).reshape(b, c, h, w))


def images(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(1, 3, 12, 12, generator=generator) for _ in range(count)]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    made = Net().eval()
    spec = NetworkSpec(weight=QuantSpec(6), activation=QuantSpec(6), overrides={"fc1.input": {"bits": 3}})
    convert(made, spec, discover(made, [torch.rand(1, 3, 8, 8), torch.rand(1, 3, 12, 12)]))
    calibrate(made, images(4))
    return made


def errors_one_at_a_time(network: nn.Module, inputs: list[Tensor]) -> dict[str, float]:
    quantizers = activation_quantizers(network)

    def outputs(on: str) -> Tensor:
        for name, quantizer in quantizers.items():
            quantizer.mode = Mode.ON if name == on else Mode.OFF
        with torch.no_grad():
            return torch.cat([network(x) for x in inputs])

    exact = outputs("")
    found = {name: float((outputs(name) - exact).square().mean()) for name in quantizers}
    for quantizer in quantizers.values():
        quantizer.mode = Mode.ON
    return found


def test_estimates_are_the_errors_of_activations_quantized_alone(network: nn.Module) -> None:
    inputs = images(8)
    wanted, found = errors_one_at_a_time(network, inputs), output_errors(network, inputs, projections=16)
    assert set(found) == set(wanted) >= {"attention.q", "attention.k", "attention.map", "attention.v", "fc1.input"}
    for name in wanted:
        assert found[name] == pytest.approx(wanted[name], rel=0.7), name
    assert max(found, key=lambda name: found[name]) == max(wanted, key=lambda name: wanted[name]) == "fc1.input"


def test_the_network_is_as_it_was_afterwards(network: nn.Module) -> None:
    network.fc1.train()  # pyright: ignore[reportCallIssue]
    training = [module.training for module in network.modules()]
    x = images(1)[0]
    before = network(x)
    output_errors(network, images(1))
    assert torch.equal(network(x), before)
    assert [module.training for module in network.modules()] == training
    assert all(q.mode is Mode.ON and not q._forward_hooks for _, q in named_quantizers(network))
    assert all(p.grad is None for p in network.parameters())
    network.eval()


def test_an_error_on_the_way_leaves_the_network_as_it_was(network: nn.Module) -> None:
    with pytest.raises(RuntimeError, match="channels"):
        output_errors(network, [torch.rand(1, 5, 12, 12)])
    assert all(q.mode is Mode.ON and not q._forward_hooks for _, q in named_quantizers(network))


def test_the_same_seed_gives_the_same_estimates(network: nn.Module) -> None:
    assert output_errors(network, images(2), seed=3) == output_errors(network, images(2), seed=3)
    assert output_errors(network, images(2), seed=3) != output_errors(network, images(2), seed=4)


def test_bits_are_raised_until_no_error_exceeds_the_limit() -> None:
    errors = {"bad": 10.0, "worst": 200.0, **{f"usual{i}": 1.0 for i in range(30)}}  # 40 / (32 - 10) in the mean
    bits = dict.fromkeys(errors, 3)
    raised = raised_bits(errors, bits, times_mean=1, most=8)
    assert list(raised.items()) == [("worst", 7), ("bad", 5)]
    assert raised_bits(errors, bits, times_mean=7, most=8) == {"worst": 5}


def test_two_large_errors_do_not_hide_the_others() -> None:
    """As in DAT-light x2, where two maps caused three quarters of the error."""
    errors = {"largest": 500.0, "large": 300.0, **{f"bad{i}": 5.0 for i in range(8)}}
    errors |= {f"usual{i}": 1.0 for i in range(90)}
    raised = raised_bits(errors, dict.fromkeys(errors, 4), times_mean=1.5, most=8)
    assert raised == {"largest": 8, "large": 8, **{f"bad{i}": 6 for i in range(8)}}  # (8 · 5 + 90) / (100 - 2 · 10)


def test_no_activation_gets_more_than_the_most_bits() -> None:
    errors = {"a": 1.0, **dict.fromkeys("bcdef", 1e-9)}
    for most in (4, 5, 6):
        assert raised_bits(errors, dict.fromkeys(errors, 4), 1, most) == ({"a": most} if most > 4 else {})


def test_equal_errors_raise_no_bits() -> None:
    errors = {str(i): 1.0 for i in range(30)}
    assert raised_bits(errors, dict.fromkeys(errors, 4), times_mean=1.5, most=8) == {}
    assert raised_bits({}, {}, times_mean=2, most=8) == {}
    assert raised_bits({"a": 0.0}, {"a": 4}, times_mean=2, most=8) == {}
