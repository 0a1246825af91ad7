"""A quantized SwinIR is compiled and exported as one graph that calls the operators, with the same bits."""

from __future__ import annotations

import pytest
import torch

from compsrt_plugin import native
from compsrt_plugin.quant import freeze
from tests.small_networks import CompSRTSwinIR, small_network

pytestmark = pytest.mark.skipif(native.library() is None, reason="no compiler when the package was installed")
X = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["trainable", "frozen"])
def network(request: pytest.FixtureRequest) -> CompSRTSwinIR:
    made = small_network(transform="hadamard").eval()
    return made if request.param == "trainable" else freeze(made)


def test_it_is_compiled_as_one_graph(network: CompSRTSwinIR) -> None:
    torch.compiler.reset()
    wanted = network(X)
    found = torch.compile(network, backend="aot_eager", fullgraph=True)(X)
    assert torch.equal(found, wanted)
    torch.compiler.reset()


def test_gradients_of_a_compiled_network_are_the_same(network: CompSRTSwinIR) -> None:
    torch.compiler.reset()
    gradients = []
    for module in (network, torch.compile(network, backend="aot_eager", fullgraph=True)):
        network.zero_grad()
        module(X).square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    ours, theirs = gradients
    assert ours and ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(theirs[name], gradient, msg=lambda told, name=name: f"{name}: {told}")
    torch.compiler.reset()


def test_it_is_exported_with_the_operators(network: CompSRTSwinIR) -> None:
    exported = torch.export.export(network, (X,), strict=False)
    assert "torch.ops.compsrt.quantized_product." in exported.graph_module.code  # frozen, it has no other
    assert torch.equal(exported.module()(X), network(X))
