"""The library on a device beside the CPU: quantizing, calibrating and training make nothing on another one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine.networks import distance, network, picture_for
from other.device import NAME
from torch import Tensor, nn

from compsrt_plugin.engine import Engine, engine_available
from compsrt_plugin.ops.fake_quantize import fake_quantize
from compsrt_plugin.pruning import prune
from compsrt_plugin.quant import NetworkSpec, Quantizer, QuantSpec, calibrate, convert, discover, distinct_codes, freeze
from compsrt_plugin.quant.transforms.registry import inverse_matrix, transform_matrix


@pytest.mark.parametrize("compute", [
    lambda there, here: there + here,
    lambda there, here: torch.where(there > 0, there, here),
    lambda there, here: torch.nn.functional.linear(here, there),
    lambda there, here: torch.cat([there, here]),
    lambda there, here: there.add_(here),
])  # fmt: skip
def test_tensors_of_two_devices_do_not_mix(device: torch.device, compute: Any):
    here = torch.ones(2, 2)
    assert compute(here.to(device), torch.ones(2, 2, device=device)).device.type == NAME
    with pytest.raises(RuntimeError, match="same device"):
        compute(here.to(device), here)


def test_code_for_the_cpu_refuses_tensors_of_the_device(device: torch.device):
    x = torch.ones(2, 2, device=device)
    with pytest.raises(NotImplementedError, match="Could not run"):
        fake_quantize(x, torch.ones((), device=device), torch.zeros((), device=device), 3, "none", True, False)
    for read in (x.data_ptr, x.numpy):
        with pytest.raises((RuntimeError, TypeError)):
            read()


def test_what_moves_a_module_leaves_its_parameters_the_same_objects(device: torch.device):
    layer = nn.Linear(3, 3)
    weight = layer.weight
    assert layer.to(device).weight is weight and weight.device.type == NAME
    value = torch.arange(3.0, device=device)
    layer.bias.data = value
    value.add_(1)
    assert layer.bias.tolist() == [1, 2, 3]  # it shares memory, as on any device


def layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 60, 3, padding=1), nn.Flatten(2), nn.Linear(64, 120), nn.GELU(), nn.Linear(120, 8)
    )


def life(place: torch.device | str, spec: QuantSpec, weight: QuantSpec) -> list[Tensor]:
    """Take a network from conversion to frozen codes on a device, and return what it computed on the way."""
    made, x = layers().to(place), torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).to(place)
    made = convert(made, NetworkSpec(weight, spec))
    found = [made(x)]
    prune(made, hook="magnitude", ratio=0.25, batches=[x])
    calibrate(made, [x])
    with torch.inference_mode():
        found.append(made(x))
    optimizer = torch.optim.SGD(made.parameters(), 1.0)  # a step of Adam would have the sign of what is only rounding
    made(x).square().mean().backward()
    optimizer.step()
    found += [made(x), torch.tensor([*distinct_codes(made, [x]).values()])]
    freeze(made)
    found.append(made(x))
    return [tensor.detach().cpu() for tensor in found]


@pytest.mark.parametrize("transform", ["none", "hadamard", "hadamard_signed", "hadamard_block", "hadamard_exact"])
@pytest.mark.parametrize(("granularity", "codes", "search"), [
    ("per_tensor", "strict", "dobi"), ("per_channel", "strict", "percentile"), ("per_token", "strict", "dobi"),
    ("per_tensor", "paper", "minmax"),
])  # fmt: skip
def test_from_conversion_to_codes(device: torch.device, transform: str, granularity: str, codes: str, search: str):
    def spec(granularity: str) -> QuantSpec:
        return QuantSpec(4, transform, granularity=granularity, codes=codes, search=search)

    activation = spec("per_tensor" if granularity == "per_channel" else granularity)
    weight = spec("per_tensor" if granularity == "per_token" else granularity)
    for cached in (transform_matrix, inverse_matrix):
        cached.cache_clear()
    for there, here in zip(life(device, activation, weight), life("cpu", activation, weight)):
        # 3e-5 at most here. The CPU's compiled pass rounds otherwise in the last bit, so a code at an edge may differ,
        # which makes 0.06; a step that did not reach the parameters makes 0.3 and more.
        assert distance(there.float(), here.float()) < 0.1


class Attention(nn.Module):
    """Products in a module's own code, and a weight that it reads."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.qkv, self.last = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return nn.functional.linear((q @ k.mT).softmax(-1) @ v, self.last.weight)


@pytest.mark.parametrize("granularity", ["per_tensor", "per_token"])
def test_products_in_foreign_code(device: torch.device, granularity: str):
    x = torch.rand(2, 9, 16, generator=torch.Generator().manual_seed(1))
    outputs = []
    for place in (device, torch.device("cpu")):
        plain, there = Attention().to(place), x.to(place)
        spec = QuantSpec(4, granularity=granularity)
        made = convert(plain, NetworkSpec(QuantSpec(4), spec), discover(plain, [there, there[:, :4]]))
        calibrate(made, [there])
        made(there).square().sum().backward()
        assert {p.grad.device.type for p in made.parameters() if p.grad is not None} == {place.type}
        outputs.append(made(there).detach().cpu())
    assert distance(*outputs) < 0.1


def test_bounds_made_on_the_cpu_are_noticed(device: torch.device, monkeypatch: pytest.MonkeyPatch):
    made = Quantizer.__init__
    monkeypatch.setattr(Quantizer, "__init__", lambda self, spec, rows=1, like=None: made(self, spec, rows))
    spec = QuantSpec(4)
    with pytest.raises(RuntimeError, match="same device"):
        life(device, spec, QuantSpec(4, granularity="per_channel"))


@pytest.mark.skipif(not engine_available(), reason="needs the compiled part")
@pytest.mark.parametrize("arch", [
    {}, {"upsampler": "pixelshuffle", "upscale": 3}, {"upsampler": "nearest+conv", "upscale": 4},
    {"upsampler": "", "upscale": 1},
], ids=["pixelshuffledirect", "pixelshuffle", "nearest+conv", "none"])  # fmt: skip
def test_the_engine_of_a_network_on_the_device(device: torch.device, arch: dict[str, Any]):
    simulated = network(arch=arch)
    x = picture_for(arch)
    wanted = Engine(simulated, threads=1)(x)
    moved = simulated.to(device)
    found = Engine(moved, threads=1)(x.to(device))
    assert found.device.type == "cpu" and torch.equal(found, wanted)
    assert distance(found, moved(x.to(device)).detach().cpu()) < 0.5


def test_an_image_model_of_spandrel_leaves_the_engine_and_returns_to_it(device: torch.device):
    pytest.importorskip("spandrel")
    from compsrt_plugin import spandrel_support

    model, x = spandrel_support.load("compsrt_x2_2bit"), torch.rand(1, 3, 11, 9)
    by_engine = model(x)
    there = model.to(device)(x.to(device))
    assert there.device.type == NAME and model.device.type == NAME
    assert distance(there.cpu(), by_engine) < 0.05
    assert torch.equal(model.to("cpu")(x), by_engine)
