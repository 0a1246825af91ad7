"""A product at the place of another one is refused and never quantized."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import Mode, NetworkSpec, QuantSpec, calibrate, convert, discover, set_mode

X = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(0))
SPEC = NetworkSpec(QuantSpec(4), QuantSpec(4))


class Switched(nn.Module):
    """A product that weighs its input, then attention; `way` says how its code goes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way = "as probed"
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def gate(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.q(x) @ self.k(x).mT) @ x

    def attend(self, x: Tensor) -> Tensor:
        return (self.k(x) @ self.q(x).mT).softmax(-1) @ self.v(x)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "another order":
            return self.gate(self.attend(x))
        if self.way == "another letter" and self.training:
            x = torch.einsum("bnd,bme->bnd", self.q(x), self.k(x))
        elif self.way == "other axes":
            x = x @ (self.q(x).mT @ self.k(x))
        elif self.way != "a branch skipped" and (self.way != "eval alone" or not self.training):
            x = self.gate(x)
        if self.way == "the last skipped":
            return x
        if self.way == "another kind":
            return F.scaled_dot_product_attention(self.q(x), self.k(x), x)
        x = self.attend(x)
        return x @ x.mT if self.way == "one more" else x


WRONG = {
    "a branch skipped": r"product 1 of Switched is .* elsewhere in its code|2 products, fewer than the 4",
    "eval alone": r"product 1 of Switched is .* elsewhere in its code|2 products, fewer than the 4",
    "the last skipped": "Switched computes 2 products, fewer than the 4 products it had; its code took another branch",
    "one more": "Switched computes more than the 4 products it had",
    "another kind": r"product 3 of Switched is attention over axes of 8, 9, 8; it was a product",
    "other axes": "product 1 of Switched is a product over axes of 9, 8, 9, 8; it was a product over axes of 8, any, 8",
    "another order": r"product 1 of Switched is .* elsewhere in its code; it was",
    "another letter": "product 1 of Switched is a product",
}


def switched() -> nn.Module:
    network = nn.Sequential(Switched())
    convert(network, SPEC, discover(network, [X, X[:, :4]]))
    calibrate(network, [X])
    return network.train()


@pytest.mark.parametrize("way", WRONG)
def test_code_that_goes_another_way_than_at_conversion_is_refused(way: str):
    network = switched()
    network(X)
    network[0].way = way
    with pytest.raises(CompSRTError, match=WRONG[way]):
        network(X)
    network[0].way = "as probed"
    network(X)
    set_mode(network, Mode.OFF)
    network[0].way = way
    network(X)  # nothing is quantized, so nothing can be wrong


@pytest.mark.parametrize("way", ["a branch skipped", "another order"])
def test_a_copy_is_watched_as_well(way: str):
    network = copy.deepcopy(switched())
    network[0].way = way
    with pytest.raises(CompSRTError, match="of Switched is"):
        network(X)


def test_a_network_that_was_pickled_tells_products_apart_by_number_and_kind():
    network = pickle.loads(pickle.dumps(switched()))
    assert all(site.kind.place == () for site in network[0].sites)
    network(X)
    network[0].way = "a branch skipped"
    with pytest.raises(CompSRTError, match="Switched computes 2 products, fewer than the 4"):
        network(X)


def test_other_sizes_batches_and_modes_are_the_same_products():
    network = switched()
    for x in (X[:1, :3], X[:, :1], torch.randn(5, 20, 8)):
        assert network(x).shape == x.shape
        assert network.eval()(x).shape == x.shape


class Recomputed(nn.Module):
    """Attention and a weight that code reads, within a checkpoint of the kind `mode`; None: without one."""

    def __init__(self, mode: str | None, what: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mode, self.what = mode, what
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out((q @ k.mT).softmax(-1) @ v)

    def read(self, x: Tensor) -> Tensor:
        return F.linear(x, self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        run = self.attend if self.what == "products" else self.read
        if self.mode is None:
            return run(x)
        if self.mode == "function":
            return Again.apply(x, run)
        return checkpoint(lambda y: run(y), x, use_reentrant=self.mode == "reentrant")


class Again(torch.autograd.Function):
    """A checkpoint as people write their own."""

    @staticmethod
    def forward(ctx, x, run):
        ctx.save_for_backward(x)
        ctx.run = run
        return run(x)

    @staticmethod
    def backward(ctx, *grads):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            ctx.run(x).backward(*grads)
        return x.grad, None


def recomputed(mode: str | None, what: str) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 8), Recomputed(mode, what))
    convert(network, SPEC, discover(network, [X, X[:, :4]]))
    calibrate(network, [X])
    return network


@pytest.mark.parametrize("what", ["products", "weights"])
@pytest.mark.parametrize("mode", ["reentrant", "not reentrant", "function"])
def test_checkpointing_inside_an_intercepted_module_is_refused_in_training_alone(mode: str, what: str):
    network, plain = recomputed(mode, what), recomputed(None, what)
    with torch.no_grad():
        assert torch.equal(network(X), plain(X))
    with pytest.raises(CompSRTError, match=r"within gradient checkpointing or .*; checkpoint the whole module"):
        network(X)


@pytest.mark.parametrize("what", ["products", "weights"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_around_a_module_gives_the_same_gradients(reentrant: bool, what: str):
    network = recomputed(None, what)

    def gradients(run) -> dict[str, Tensor]:
        network.zero_grad()
        run(X.clone().requires_grad_()).square().mean().backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    expected = gradients(network)
    found = gradients(lambda x: checkpoint(network[1], network[0](x), use_reentrant=reentrant))
    assert found.keys() == expected.keys() and len(expected) > 8
    assert all(torch.equal(found[name], expected[name]) for name in expected)
