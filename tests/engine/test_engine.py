"""The engine gives the pixels of the simulated network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from compsrt_plugin.engine import Engine, engine_available
from compsrt_plugin.engine.fold import describe_linear
from compsrt_plugin.packed.bundled import WEIGHTS
from compsrt_plugin.packed.open import open_packed

from .levels import LEVELS_HERE, forced, named
from .networks import assert_same_pixels, distance, in_double, network, picture, picture_for, turned

pytestmark = pytest.mark.skipif(not engine_available(), reason="the engine is not compiled here")


@pytest.fixture(params=LEVELS_HERE)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return forced(request.param, monkeypatch)


def check(made: Any, shape: tuple[int, ...] = (1, 3, 16, 16)) -> None:
    assert_same_pixels(Engine(made, threads=1), made, shape)


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_width(level: str, bits: int) -> None:
    check(network(bits=bits))


@pytest.mark.parametrize("recipe", ["minmax", "percentile", "dobi", "2dquant", "compsrt", "plus"])
def test_every_recipe(level: str, recipe: str) -> None:
    check(network(recipe=recipe))


@pytest.mark.parametrize("weight", ["none", "hadamard"])
@pytest.mark.parametrize("activation", ["none", "hadamard"])
def test_transforms_of_weight_and_activation(level: str, weight: str, activation: str) -> None:
    check(network(weight={"transform": weight, "granularity": "per_channel"}, activation={"transform": activation}))


SIGNED: dict[str, dict[str, Any]] = {
    "all": {},
    "not v": {"*.attn.v": {"transform": "hadamard"}},
    "not proj": {"*.attn.proj": {"transform": "hadamard"}},
    "not q and k": {"*.attn.[qk]": {"transform": "none"}},
    "not k's linear": {"*.qkv.k": {"transform": "hadamard"}},
    "not fc1's weight": {"*.fc1.weight": {"transform": "none"}},
    "kept proj": {"*.attn.proj": {"keep": True}},
}


@pytest.mark.parametrize("name", SIGNED)
def test_signs(level: str, name: str) -> None:
    overrides = {"*.map": {"transform": "hadamard_softmax"}, **SIGNED[name]}
    signed = {"transform": "hadamard_signed"}
    check(network(weight=signed, activation=signed, overrides=overrides))


@pytest.mark.parametrize("name", ["unstructured", "rows"])
def test_signs_pruned(level: str, name: str) -> None:
    signed = {"transform": "hadamard_signed"}
    overrides = {"*.map": {"transform": "none"}}
    check(network(weight=signed, activation=signed, overrides=overrides, pruning=PRUNING[name]))


OVERRIDES = {
    "mixed bits": {"*.fc1": {"bits": 2}, "*.attn.map": {"bits": 8}, "*.qkv.k": {"bits": 6}},
    "kept linears": {"*.fc2": {"keep": True}, "*.qkv.v": {"keep": True}, "*.attn.proj": {"keep": True}},
    "kept operands": {"*.attn.q": {"keep": True}, "*.attn.map": {"keep": True}},
    "kept map": {"*.attn.map": {"keep": True}},
    "kept v": {"*.attn.v": {"keep": True}},
    "known coefficient": {"*.attn.map": {"transform": "hadamard_softmax"}},
    "plain map": {"*.attn.map": {"transform": "none"}},
    "plain v": {"*.attn.v": {"transform": "none"}},
    "q unlike k": {"*.attn.q": {"transform": "none"}},
    "one linear unlike its weight": {"*.qkv.k.weight": {"transform": "none"}},
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_overrides(level: str, name: str) -> None:
    check(network(overrides=OVERRIDES[name]))


TOKENS = {"granularity": "per_token"}


@pytest.mark.parametrize("of_map", ["none", "hadamard", "hadamard_softmax"])
@pytest.mark.parametrize("transform", ["none", "hadamard", "hadamard_signed"])
def test_scales_of_tokens(level: str, transform: str, of_map: str) -> None:
    activation = {"transform": transform, **TOKENS}
    check(network(weight={"transform": transform}, activation=activation, overrides={"*.map": {"transform": of_map}}))


@pytest.mark.parametrize("place", ["*.attn.q", "*.attn.k", "*.attn.map", "*.input", "*.qkv.k.input"])
def test_scales_of_tokens_in_some_places(level: str, place: str) -> None:
    check(network(overrides={place: TOKENS}))


@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize("name", ["kept operands", "kept map", "q unlike k", "one linear unlike its weight"])
def test_scales_of_tokens_where_floats_are_taken(level: str, name: str, bits: int) -> None:
    check(network(bits=bits, activation=TOKENS, overrides=OVERRIDES[name]))


PRUNING = {
    "unstructured": {"hook": "magnitude", "ratio": 0.4},
    "two of four": {"hook": "n_m", "ratio": None, "options": {"n": 2, "m": 4}},
    "rows": {"hook": "channel", "ratio": 0.3},
}


@pytest.mark.parametrize("granularity", ["per_tensor", "per_token"])
@pytest.mark.parametrize("name", PRUNING)
@pytest.mark.parametrize("bits", [3, 8])
def test_pruned(level: str, name: str, bits: int, granularity: str) -> None:
    check(network(bits=bits, recipe="plus", pruning=PRUNING[name], activation={"granularity": granularity}))


@pytest.mark.parametrize("name", PRUNING)
def test_a_mask_costs_no_second_sum(level: str, name: str) -> None:
    """With an aligned zero point the zeros of a mask are integers as all weights are."""
    made = network(recipe="plus", pruning=PRUNING[name])
    for layer in (made.layers[0].residual_group.blocks[0].mlp.fc1, made.layers[0].residual_group.blocks[1].attn.proj):
        assert describe_linear(layer, named(level)).integer == (level != "plain")


def test_a_mask_whose_zeros_lie_between_the_steps_is_taken_in_floats(level: str) -> None:
    free = {"transform": "hadamard_signed", "granularity": "per_channel", "aligned_zero_point": False}
    made = network(recipe="plus", pruning=PRUNING["unstructured"], weight=free)
    assert not describe_linear(made.layers[0].residual_group.blocks[0].mlp.fc1, named(level)).integer
    check(made)


@pytest.mark.parametrize("granularity", ["per_tensor", "per_token"])
def test_pruned_rows_and_columns_take_no_part(level: str, granularity: str) -> None:
    made = network(activation={"granularity": granularity})
    for layer in (made.layers[0].residual_group.blocks[0].mlp.fc1, made.layers[0].residual_group.blocks[1].attn.proj):
        mask = torch.ones_like(layer.weight_codes, dtype=torch.bool)
        mask[2:5], mask[:, 1] = False, False
        mask[:, 9:12] = False
        layer.weight_mask = mask
        layer.weight_codes *= mask
        layer._decoded = None
    check(made)


ARCHS: dict[str, dict[str, Any]] = {
    "two groups, full heads": {"depths": [2, 3], "num_heads": [1, 4], "embed_dim": 16},
    "heads of 30": {"embed_dim": 60, "num_heads": [2]},
    "heads of 3": {"num_heads": [4]},
    "odd window": {"window_size": 7, "img_size": 14},
    "window of 4": {"window_size": 4},
    "window of 16": {"window_size": 16, "img_size": 32},
    "window of 12": {"window_size": 12, "img_size": 24},
    "one window, no shift": {"img_size": 8},
    "window of 1": {"window_size": 1},
    "three convolutions": {"resi_connection": "3conv", "embed_dim": 24},
    "classical": {"upsampler": "pixelshuffle", "upscale": 3},
    "real-world": {"upsampler": "nearest+conv", "upscale": 4},
    "denoising": {"upsampler": "", "upscale": 1},
    "x3": {"upscale": 3},
    "x4, range 255": {"upscale": 4, "img_range": 255.0},
    "grey": {"in_chans": 1},
    "no biases, no patch norm": {"qkv_bias": False, "patch_norm": False},
    "scale of its own, narrow": {"qk_scale": 0.5, "mlp_ratio": 1.5, "embed_dim": 10},
}


@pytest.mark.parametrize("name", ARCHS)
def test_every_shape_of_network(level: str, name: str) -> None:
    # in large windows of 4 bits some code always lies on a boundary
    check(network(bits=3, arch=ARCHS[name]), tuple(picture_for(ARCHS[name]).shape))


def test_convolutions_in_full_precision() -> None:
    check(network(conv_bits=None))


@pytest.mark.parametrize("size", [(8, 8), (8, 24), (32, 8), (24, 40), (72, 8), (16, 72), (8, 136)])
def test_every_size_of_picture(level: str, size: tuple[int, int]) -> None:
    check(network(), (1, 3, *size))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("window", [8, 7, 1, 12])
def test_threads_change_nothing(threads: int, window: int) -> None:
    """Nor what a thread did before: no pixel is made of what lies in its buffers."""
    made = network(bits=3, arch={"window_size": window, "img_size": 2 * window})
    x = picture(3 * window, 10 * window)
    engine, wanted = Engine(made, threads=threads), Engine(made, threads=1)(x)
    assert torch.equal(engine(x), wanted)
    engine(1e6 * picture(5 * window, 5 * window))
    assert torch.equal(engine(x), wanted)


def test_levels_of_instructions_agree() -> None:
    """On pictures where no code differs, every level is the simulated network to rounding."""
    made = network()
    for name in LEVELS_HERE:
        with pytest.MonkeyPatch.context() as patch:
            forced(name, patch)
            engine = Engine(made, threads=1)
        assert engine.level == name
        assert_same_pixels(engine, made, (1, 3, 24, 24))


def test_batches_and_sizes_in_any_order() -> None:
    made = network()
    engine = Engine(made, threads=2)
    pictures = [picture(32, 16, batch=2), picture(8, 8), picture(40, 24, batch=3), picture(32, 16, batch=2)]
    results = [engine(x) for x in pictures]
    assert torch.equal(results[0], results[3])
    for x, result in zip(pictures, results):
        assert all(torch.equal(engine(one[None])[0], whole) for one, whole in zip(x, result))


def test_odd_layouts_of_memory() -> None:
    engine, x = Engine(network(), threads=1), picture(16, 24)
    assert torch.equal(engine(x.contiguous(memory_format=torch.channels_last)), engine(x))
    assert torch.equal(engine(x.double()), engine(x))


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("compsrt_*.safetensors")), ids=lambda path: path.stem)
def test_bundled_networks(path: Path) -> None:
    """Deep networks of few bits turn one code into many: what they differ by is a grey level or two.

    How far the simulated network is from itself is told by codes that float32 may round to the other side.
    """
    opened = open_packed(path)
    engine = Engine(opened, threads=2)
    for seed in (1, 2):
        x = torch.nn.functional.interpolate(picture(4, 4, seed=seed), (16, 24), mode="bicubic").clamp(0, 1)
        wanted = in_double(opened.network, x)
        result = engine(x)
        assert (result - wanted).abs().max().item() <= 0.03
        assert distance(result, wanted) <= 2 * distance(turned(opened.network, x), wanted)


def test_time_of_stages() -> None:
    made = network()
    engine = Engine(made, threads=2, profile=True)
    assert engine.stage_times() == {}
    engine(picture())
    times = engine.stage_times()
    assert {"transform", "quantize", "products", "softmax", "norm", "gelu", "conv", "copies"} <= times.keys()
    assert all(value >= 0 for value in times.values()) and sum(times.values()) > 0
    plain = Engine(made, threads=1)
    plain(picture())
    assert plain.stage_times() == {}
