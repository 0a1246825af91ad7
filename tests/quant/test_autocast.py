"""Under autocast and in half precision, quantizers compute in float32, and kernels get float32 only."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin import native
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import (
    TRANSFORMS,
    Mode,
    NetworkSpec,
    Quantizer,
    QuantSpec,
    calibrate,
    convert,
    distinct_codes,
    freeze,
    product,
    weighted_sum,
)

X = torch.randn(64, 60, generator=torch.Generator("cpu").manual_seed(0))
HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
compiled = pytest.mark.skipif(native.library() is None, reason="no compiler when the package was installed")


def quantized(bits: int = 8, **fields) -> nn.Module:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(60, 120), nn.GELU(), nn.Linear(120, 60))
    spec = QuantSpec(bits, **fields)
    network = convert(network, NetworkSpec(spec, spec))
    calibrate(network, [X])
    return network


def gradients(network: nn.Module, autocast: bool, backward_within: bool) -> dict[str, Tensor]:
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = network(X).float().pow(2).mean()
        if backward_within:
            loss.backward()
    if not backward_within:
        loss.backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def test_a_step_under_autocast_leaves_memory_whole():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_autocast import gradients, quantized\n"
        "for bits in (2, 8):\n"
        "    for within in (False, True):\n"
        "        for _ in range(3): gradients(quantized(bits), True, within)\n"
        "print('whole')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, __file__.rpartition("/")[0]], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "whole"), done.stderr[-2000:]


@pytest.mark.parametrize(
    "fields", [{}, {"transform": "hadamard_block"}, {"codes": "paper"}, {"granularity": "per_channel"}]
)
@pytest.mark.parametrize("backward_within", [False, True])
def test_gradients_under_autocast_are_those_without(fields: dict[str, str], backward_within: bool):
    network = quantized_per_channel() if "granularity" in fields else quantized(**fields)
    wanted = gradients(network, autocast=False, backward_within=False)
    found = gradients(network, autocast=True, backward_within=backward_within)
    for name, value in wanted.items():
        # GELU alone, which is not quantized, follows autocast. Sums of thousands of signed terms may come near zero.
        allowed = 0.02 * max(float(value.abs().max()), 5e-4)
        torch.testing.assert_close(found[name], value, rtol=0, atol=allowed, msg=name)


def quantized_per_channel() -> nn.Module:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(60, 120), nn.GELU(), nn.Linear(120, 60))
    network = convert(network, NetworkSpec(QuantSpec(8, granularity="per_channel"), QuantSpec(8)))
    calibrate(network, [X])
    return network


def test_products_of_activations_and_convolutions_are_the_same_to_the_bit_under_autocast():
    q, k, v = torch.randn(3, 2, 16, 20, generator=torch.Generator("cpu").manual_seed(2)).unbind()
    on = [Quantizer(QuantSpec(8)) for _ in range(2)]
    for quantizer in on:
        quantizer.set_bounds(-3.0, 3.0)
        quantizer.mode = Mode.ON
    torch.manual_seed(0)
    conv = convert(nn.Sequential(nn.Conv2d(3, 8, 3)), NetworkSpec(conv_bits=8, conv_input_bits=8))
    image = torch.rand(1, 3, 12, 12)
    calibrate(conv, [image])

    def computed() -> list[Tensor]:
        return [product(q, k, *on), weighted_sum(q @ k.transpose(-2, -1), v, None, on[0]), conv(image)]

    wanted = computed()
    with torch.autocast("cpu", torch.bfloat16):
        found = [product(q, k, *on), conv(image)]
    assert torch.equal(found[0], wanted[0]) and torch.equal(found[1], wanted[2])


def test_with_quantizers_off_autocast_does_what_it_does_without_us():
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Linear(60, 120), nn.GELU(), nn.Linear(120, 60))
    network = convert(copy.deepcopy(plain), NetworkSpec())
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = network(X), plain(X)
    assert found.dtype == torch.bfloat16 and torch.equal(found, wanted)


@HALVES
@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("codes", ["strict", "paper"])
def test_a_network_in_half_precision_is_near_the_one_in_float32(
    dtype: torch.dtype, called: bool, frozen: bool, codes: str
):
    network = quantized(codes=codes)
    if frozen:
        freeze(network)
    wanted = network(X).detach()
    if not called:
        network = copy.deepcopy(network)
        for module in network.modules():
            if hasattr(module, "_decoded"):
                module._decoded = None
    found = network.to(dtype)(X.to(dtype))
    assert found.dtype == dtype
    assert (found.float() - wanted).abs().max() < 0.1 * wanted.abs().max()


@pytest.mark.parametrize("frozen", [False, True])
def test_double_after_a_call_is_double(frozen: bool):
    network = quantized()
    if frozen:
        freeze(network)
    wanted = network(X).detach()
    found = network.double()(X.double())
    assert found.dtype == torch.float64
    assert ((found - wanted).abs() > 1e-3).double().mean() < 0.01  # codes at a threshold
    assert torch.equal(network.float()(X), wanted)  # and back


@HALVES
@pytest.mark.parametrize("transform", ["none", "hadamard", "hadamard_block"])
def test_vectors_of_zeros_stay_zero_in_half_precision(dtype: torch.dtype, transform: str):
    quantizer = Quantizer(QuantSpec(8, transform, "per_token"), like=torch.empty(0, dtype=dtype))
    quantizer.set_bounds(-1.0, 1.0)
    quantizer.mode = Mode.ON
    x = torch.zeros(3, 60, dtype=dtype)
    x[2] = 1
    found = quantizer(x)
    assert found.dtype == dtype and found.isfinite().all() and found[:2].abs().max() < 1e-3


@HALVES
def test_a_constant_activation_stays_finite_in_half_precision(dtype: torch.dtype):
    quantizer = Quantizer(QuantSpec(8), like=torch.empty(0, dtype=dtype))
    quantizer.set_bounds(1.0, 1.0)  # the smallest scale, 1e-8, is 0 in float16
    quantizer.mode = Mode.ON
    assert quantizer(torch.ones(4, 60, dtype=dtype)).isfinite().all()


@HALVES
def test_a_network_in_half_precision_can_be_calibrated_and_trained(dtype: torch.dtype):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(60, 120), nn.GELU(), nn.Linear(120, 60)).to(dtype)
    spec = QuantSpec(4)
    network = convert(network, NetworkSpec(spec, spec))
    calibrate(network, [X.to(dtype)])
    network(X.to(dtype)).float().pow(2).mean().backward()
    assert {parameter.grad.dtype for parameter in network.parameters()} == {dtype}
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert max(distinct_codes(network, [X.to(dtype)]).values()) <= 16


def test_bounds_in_float64_and_an_input_in_float32_are_computed_as_what_they_are():
    quantizer = Quantizer(QuantSpec(8, "hadamard"))
    quantizer.set_bounds(-9.0, 9.0)
    quantizer.mode = Mode.ON
    wanted = quantizer(X)
    found = quantizer.double()(X)
    assert ((found - wanted).abs() > 1e-5).float().mean() < 0.01


def tensors() -> dict[str, Tensor]:
    return {"grad": torch.ones(4, 60), "x": torch.ones(4, 60), "scale": torch.ones(()), "zero_point": torch.zeros(())}


@compiled
@pytest.mark.parametrize("which", ["grad", "x", "scale", "zero_point"])
@pytest.mark.parametrize(
    "spoil",
    [
        torch.Tensor.double,
        torch.Tensor.bfloat16,
        lambda t: t.to("meta"),
        lambda t: torch.cat([torch.atleast_2d(t)] * 2),
        Tensor.int,
    ],
    ids=["float64", "bfloat16", "device", "size", "int32"],
)
def test_no_kernel_gets_a_tensor_that_is_not_what_it_reads(which: str, spoil):
    given = tensors()
    given[which] = spoil(given[which])
    with pytest.raises(CompSRTError, match="a kernel got"):
        native.fake_quantize_backward(*given.values(), 7, TRANSFORMS["none"], True)


@compiled
def test_a_lazily_negated_tensor_is_not_read_as_what_it_was():
    quantizer = Quantizer(QuantSpec(8, "none"))
    quantizer.set_bounds(-1.0, 1.0)
    quantizer.mode = Mode.ON
    x = torch.complex(torch.rand(4, 60), torch.rand(4, 60)).conj().imag
    assert x.is_neg() and torch.equal(quantizer(x), quantizer(x.clone()))
