"""Conversion replaces a layer at all its places, or changes nothing."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import warnings

import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import read_packed
from compsrt_plugin.packed.dense import dense_state
from compsrt_plugin.packed.network_state import load_packed_state, save_network
from compsrt_plugin.quant import (
    NetworkSpec,
    QuantLinear,
    QuantSpec,
    calibrate,
    convert,
    discover,
    distinct_codes,
    named_quantizers,
)
from compsrt_plugin.quant.tracing.interception import Intercepting
from compsrt_plugin.quant.tracing.linears import FunctionalLinear

X = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))
SPEC = NetworkSpec(QuantSpec(3), QuantSpec(3))


class Shared(nn.Module):
    """One projection for queries and keys, at two names, in a list and in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.to_q, self.to_v = nn.Linear(16, 16), nn.Linear(16, 16)
        self.to_k = self.to_q
        self.listed, self.held, self.by_name = [self.to_q], (self.to_q, None), {"v": self.to_v}

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.listed[0](x) + self.held[0](x), self.to_k(x), self.by_name["v"](x)
        return (q @ k.mT).softmax(-1) @ v


def test_a_layer_at_several_places_is_quantized_at_all_of_them():
    network = convert(Shared(), SPEC)
    assert isinstance(network.to_q, QuantLinear)
    assert network.to_k is network.to_q is network.listed[0] is network.held[0]
    assert network.by_name["v"] is network.to_v
    names = [name for name, _ in named_quantizers(network)]
    assert names == ["to_q.weight", "to_q.input", "to_v.weight", "to_v.input"]


def test_a_layer_of_two_modules_is_quantized_once():
    layer = nn.Linear(16, 16)
    network = convert(nn.Sequential(nn.Sequential(layer), nn.GELU(), nn.Sequential(layer)), SPEC)
    assert network[0][0] is network[2][0] and isinstance(network[0][0], QuantLinear)


def test_a_shared_layer_is_in_a_packed_file_once_and_read_to_all_its_places(tmp_path):
    network = convert(Shared(), SPEC)
    calibrate(network, [X])
    expected, dense = network(X).detach(), dense_state(network)
    assert torch.equal(dense["to_k.weight"], dense["to_q.weight"]) and dense.keys() == Shared().state_dict().keys()
    save_network(tmp_path / "file", network, {"arch": {}, "spec": {}, "provenance": {}})
    packed = read_packed(tmp_path / "file")
    assert not any(name.startswith("to_k") for name in packed.state)
    again = convert(Shared(), SPEC)
    load_packed_state(again, packed, "file")
    assert torch.equal(again(X), expected)


def test_an_override_of_a_second_name_says_which_is_the_first():
    for pattern in ("to_k", "to_k.input"):
        with pytest.raises(CompSRTError, match=r"names to_k, which is the same module as to_q; .*: name to_q"):
            convert(Shared(), NetworkSpec(overrides={pattern: {"bits": 4}}))


@pytest.mark.parametrize("probed", [False, True])
def test_a_converted_network_is_not_converted_again(probed: bool):
    network = convert(Shared(), SPEC)
    calibrate(network, [X])
    before = network(X)
    with pytest.raises(CompSRTError, match=r"Shared is converted already: it has the quantizer to_q\.weight_quantizer"):
        if probed:
            discover(network, [X, X])
        convert(network, NetworkSpec(QuantSpec(2), QuantSpec(2)))
    with pytest.raises(CompSRTError, match="Sequential is converted already"):
        convert(nn.Sequential(nn.Linear(16, 16), network), SPEC)
    assert torch.equal(network(X), before)


class Attention(nn.Module):
    """Products in its own code, a weight that it reads, and a table."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.qkv, self.out, self.table = nn.Linear(16, 48), nn.Linear(16, 16), nn.Parameter(torch.rand(16, 16))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = nn.functional.linear(x, self.qkv.weight).chunk(3, -1)
        return nn.functional.linear(self.out((q @ k.mT).softmax(-1) @ v), self.table)


def test_a_conversion_that_fails_leaves_the_network_as_it_was():
    network = nn.Sequential(Attention(), nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))))
    keys, expected = list(network.state_dict()), network(X)
    structure = repr(network)
    found = discover(network, [X, X[:, :4]])
    with pytest.raises(CompSRTError, match="override 'nothing' matches no layer"):
        convert(network, NetworkSpec(overrides={"nothing": {"bits": 4}}), found)
    assert list(network.state_dict()) == keys and repr(network) == structure
    assert type(network[0]) is Attention and torch.equal(network(X), expected)
    convert(network, SPEC, discover(network, [X, X[:, :4]]))
    calibrate(network, [X])


def test_hooks_on_a_layer_stay_with_what_takes_its_place():
    network, seen = nn.Sequential(nn.Linear(16, 16)), []
    handle = network[0].register_forward_hook(lambda *_: seen.append("after"))
    network[0].register_forward_pre_hook(lambda *_: seen.append("before"))
    convert(network, SPEC)(X)
    assert seen == ["before", "after"]
    handle.remove()
    network(X)
    assert seen == ["before", "after", "before"]


def intercepted() -> nn.Module:
    network = nn.Sequential(Attention(), nn.GELU())
    network = convert(network, SPEC, discover(network, [X, X[:, :4]]))
    calibrate(network, [X])
    return network


def copies(network: nn.Module) -> list[nn.Module]:
    stream = io.BytesIO()
    torch.save(network, stream)
    stream.seek(0)
    pickled = [pickle.loads(pickle.dumps(network, protocol)) for protocol in (2, pickle.HIGHEST_PROTOCOL)]
    return [torch.load(stream, weights_only=False), copy.deepcopy(network), *pickled]


def test_a_network_whose_classes_are_made_at_conversion_is_saved_and_copied_whole():
    network = intercepted()
    assert isinstance(network[0], Intercepting) and type(network[0]) is not Attention
    expected, counts = network(X), distinct_codes(network, [X])
    for again in copies(network):
        assert type(again[0]) is type(network[0]) and isinstance(again[0].qkv, FunctionalLinear)
        assert again[0].qkv is not network[0].qkv and again[0].linears[0] is again[0].qkv
        assert torch.equal(again(X), expected) and distinct_codes(again, [X]) == counts


class Stateful(Attention):
    """Pickles in a way of its own."""

    def __getstate__(self):
        return {**self.__dict__, "was": "pickled"}


def test_a_class_that_pickles_in_its_own_way_still_does():
    network = nn.Sequential(Stateful())
    convert(network, SPEC, discover(network, [X, X[:, :4]]))
    again = pickle.loads(pickle.dumps(network))
    assert again[0].was == "pickled" and type(again[0]) is type(network[0])


def output(network: nn.Module, x: Tensor, results) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        results.put(network(x).numpy())


def test_a_spawned_process_gets_the_network():
    network, context = intercepted(), multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=output, args=(network, X, results))
    process.start()
    found = results.get(timeout=600)
    process.join()
    assert torch.equal(torch.from_numpy(found), network(X).detach())
