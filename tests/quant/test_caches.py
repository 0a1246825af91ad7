"""Cached tensors are plain tensors, whatever mode the first call ran in."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, freeze
from compsrt_plugin.quant.quantizer import distinct_values
from compsrt_plugin.quant.transforms.orders import signs
from compsrt_plugin.quant.transforms.registry import inverse_matrix, transform_matrix

TRANSFORMS = ("hadamard", "hadamard_signed", "hadamard_block", "hadamard_exact")
X = torch.randn(64, 60, generator=torch.Generator("cpu").manual_seed(0))


def quantized(transform: str) -> nn.Module:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(60, 120), nn.GELU(), nn.Linear(120, 60))
    spec = QuantSpec(4, transform)
    network = convert(network, NetworkSpec(spec, spec))
    calibrate(network, [X])
    return network


def forget() -> None:
    for cached in (transform_matrix, inverse_matrix, signs):
        cached.cache_clear()


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("frozen", [False, True])
def test_an_evaluation_in_inference_mode_leaves_training_possible(transform: str, frozen: bool):
    forget()
    network = quantized(transform)
    if frozen:
        freeze(network)
    forget()
    with torch.inference_mode():
        wanted = network(X).clone()
    x = X.clone().requires_grad_()
    output = network(x)
    output.sum().backward()
    assert torch.equal(output, wanted) and x.grad.abs().max() > 0
    if not frozen:
        assert network[0].weight.grad.abs().max() > 0
    trained = quantized(transform)  # another network of the process
    trained(X).sum().backward()
    assert trained[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("frozen", [False, True])
def test_an_export_before_any_call_leaves_the_process_as_it_was(transform: str, frozen: bool):
    wanted = quantized(transform)(X).detach()
    network = quantized(transform)
    if frozen:
        freeze(network)
    forget()
    for module in network.modules():
        if hasattr(module, "_decoded"):
            module._decoded = None
    exported = torch.export.export(network, (X,), strict=False)
    assert torch.equal(network(X), wanted) and torch.equal(exported.module()(X), wanted)
    assert torch.equal(quantized(transform)(X), wanted)


def test_a_frozen_weight_is_decoded_anew_when_what_it_is_made_of_changes():
    layer = freeze(quantized("hadamard"))[0]
    before = layer(X)
    assert torch.equal(layer(X), before)
    with torch.no_grad():
        layer.weight_quantizer.upper.mul_(1.5)
    changed = layer(X)
    assert not torch.allclose(changed, before)
    layer.weight_quantizer.load_state_dict(freeze(quantized("hadamard"))[0].weight_quantizer.state_dict())
    assert torch.equal(layer(X), before)
    layer.weight_codes = 15 - layer.weight_codes
    assert not torch.allclose(layer(X), before)


def test_codes_of_a_collapsed_alpha_are_counted_in_little_memory():
    code = (
        "import resource, torch\n"
        "from compsrt_plugin.quant import Quantizer, QuantSpec\n"
        "from compsrt_plugin.quant.quantizer import distinct_values\n"
        "quantizer = Quantizer(QuantSpec(4, 'none', codes='paper'))\n"
        "quantizer.set_bounds(-4.0, 4.0)\n"
        "torch.nn.init.constant_(quantizer.alpha, -10.0)\n"
        "codes = quantizer.codes(torch.linspace(-4, 4, 4096)).detach()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = distinct_values(codes)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "assert codes.max() - codes.min() > 1e8 and 4000 < len(found) <= 4096, (codes.max(), len(found))\n"
        "assert grown < 64 * 1024, grown\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("codes", [[], [3, 3, 5], [0, 1 << 40, -(1 << 40)]])
def test_distinct_values_are_the_set_of_the_codes(codes: list[int]):
    assert distinct_values(torch.tensor(codes, dtype=torch.float64)) == set(codes)
