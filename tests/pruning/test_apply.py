from __future__ import annotations

import pages
import pytest
import torch

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import read_packed
from compsrt_plugin.packed.network_state import load_packed_state, save_network
from compsrt_plugin.pruning import PRUNING_REGISTRY, prune
from compsrt_plugin.quant import QuantLinear, calibrate, freeze, quantized_layers

from .networks import network, patches

HOOKS = {
    "magnitude": {"ratio": 0.4},
    "global": {"hook": "magnitude", "ratio": 0.4, "scope": "global"},
    "rows": {"hook": "channel", "ratio": 0.4, "options": {"axis": "rows"}},
    "columns": {"hook": "channel", "ratio": 0.4},
    "2:4": {"hook": "n_m", "ratio": None},
    "4:8": {"hook": "n_m", "ratio": None, "options": {"n": 4, "m": 8}},
    "wanda": {"hook": "wanda", "ratio": 0.4, "batches": patches()},
    "compensated": {"hook": "magnitude", "ratio": 0.4, "compensate": True, "batches": patches()},
}


def pruned(kind: str, **how):
    net = network(**how)
    arguments = {"hook": kind, **HOOKS[kind]}
    return net, prune(net, **arguments)


def masks(net) -> list[torch.Tensor]:
    return [layer.weight_mask for _, layer in quantized_layers(net)]


@pytest.mark.parametrize("kind", HOOKS)
def test_the_share_is_exact_and_the_same_on_every_run(kind: str):
    net, shares = pruned(kind)
    again, _ = pruned(kind)
    assert all(torch.equal(a, b) for a, b in zip(masks(net), masks(again)))
    total = sum(mask.numel() for mask in masks(net))
    zeros = sum(int((~mask).sum()) for mask in masks(net))
    expected = 0.5 if ":" in kind else 0.4
    tolerance = {"rows": 60, "columns": 60}.get(kind, 1)  # whole channels: to the nearest one
    assert abs(zeros - expected * total) <= tolerance
    assert shares["0"] == pytest.approx(1 - masks(net)[0].double().mean().item())


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("transform", ["none", "hadamard"])
@pytest.mark.parametrize("kind", HOOKS)
def test_zero_stays_zero_frozen_packed_and_read_again(tmp_path, kind, transform, granularity):
    if transform == "none" and kind == "4:8":
        pytest.skip("groups of 8 do not fill 60 columns")
    how = {"transform": transform, "granularity": granularity}
    net, _ = pruned(kind, **how)
    calibrate(net, patches())
    before = net(patches()[0]).detach()
    zeros_before = [layer.quantized_matrix()[~layer.weight_mask] for _, layer in quantized_layers(net)]
    freeze(net)
    save_network(tmp_path / "file", net, {})
    again = network(**how)
    load_packed_state(again, read_packed(tmp_path / "file"), "file")
    zeros_after = [layer.quantized_matrix()[~layer.weight_mask] for _, layer in quantized_layers(again)]
    for zeros in (*zeros_before, *zeros_after):
        assert zeros.numel() > 0 and not zeros.any()
    assert torch.equal(again(patches()[0]), before)


def test_a_layer_has_its_own_ratio_by_name_and_the_later_pattern_wins():
    shares = prune(network(), "magnitude", 0.4, {"*": 0.2, "2": 0.0})
    assert shares == {"0": pytest.approx(0.2, abs=1e-4), "2": 0.0}


def test_global_takes_more_from_the_layer_with_the_smaller_weights():
    net = network()
    with torch.no_grad():
        net[2].weight.mul_(0.1)
    shares = prune(net, "magnitude", 0.4, scope="global")
    assert shares["2"] > 0.7 and shares["0"] < 0.1


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_a_layer_without_some_channels_computes_with_the_smaller_matrix_alone(axis: str, monkeypatch):
    net = network()
    prune(net, "channel", 0.5, options={"axis": axis})
    calibrate(net, patches())
    whole = [layer.quantized_matrix() for layer in net if isinstance(layer, QuantLinear)]
    shapes = []
    linear = torch.nn.functional.linear
    monkeypatch.setattr(
        torch.nn.functional, "linear", lambda x, w, b=None: (shapes.append(tuple(w.shape)), linear(x, w, b))[1]
    )
    layer = net[0]
    output = layer(patches()[0])
    assert shapes == [(60, 64) if axis == "rows" else (120, 32)]
    x = layer.input_quantizer.quantize(layer.input_quantizer.transform(patches()[0]))
    assert torch.allclose(output, linear(x, whole[0], layer.bias), atol=1e-4)


def test_compensation_brings_the_output_nearer_to_the_unpruned_one():
    full = network()(patches()[0])  # quantizers off

    def error(compensate: bool) -> float:
        net = network(bits=8)
        prune(net, "magnitude", 0.5, compensate=compensate, batches=patches())
        calibrate(net, patches())
        return float((net(patches()[0]) - full).detach().norm())

    assert error(True) < 0.8 * error(False)


def test_masks_come_back_with_the_training_state():
    net, _ = pruned("magnitude")
    calibrate(net, patches())
    again = network()
    again.load_state_dict(net.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(masks(net), masks(again)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hook": "magnitud", "ratio": 0.4}, "unknown pruning hook 'magnitud'.*did you mean 'magnitude'"),
        ({"hook": "magnitude", "ratio": None}, "prune.ratio is missing"),
        ({"hook": "magnitude", "ratio": 0.4, "scope": "all"}, "unknown prune.scope 'all'"),
        ({"hook": "magnitude", "ratio": 0.4, "options": {"n": 2}}, "option of the pruning hook 'magnitude' 'n'"),
        ({"hook": "n_m", "ratio": None, "options": {"nn": 2}}, "'nn'; allowed: m, n"),
        ({"hook": "magnitude", "ratio": 0.4, "layers": {"fc": 0.1}}, "prune.layers names 'fc', which matches no"),
        ({"hook": "wanda", "ratio": 0.4}, "no value reached 0 while pruning"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments, message):
    with pytest.raises(CompSRTError, match=message):
        prune(network(), **arguments)


def test_a_hook_whose_mask_is_none_is_named():
    @PRUNING_REGISTRY.register()
    def broken(name, weight, ratio):
        return weight

    try:
        with pytest.raises(
            CompSRTError, match=r"'broken' returned torch.float32 \(120, 64\) for 0; allowed: torch.bool"
        ):
            prune(network(), "broken", 0.4)
    finally:
        del PRUNING_REGISTRY._obj_map["broken"]


def test_the_example_in_the_docs_runs():
    example = pages.blocks(pages.read("docs/pruning.md"), "python")[0]
    assert len(example.strip().splitlines()) <= 10
    known = set(PRUNING_REGISTRY.keys())
    try:
        pages.run(example)
        (name,) = set(PRUNING_REGISTRY.keys()) - known
        shares = prune(network(), name, 0.4)
        assert all(abs(share - 0.4) < 0.02 for share in shares.values())
    finally:
        for name in set(PRUNING_REGISTRY.keys()) - known:
            del PRUNING_REGISTRY._obj_map[name]
