"""Sums in the compiled library at the edge of what fits, and beyond it, where floats must be taken instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from compsrt_plugin.engine import Engine, engine_available
from compsrt_plugin.native import structures as c

from .levels import LEVELS_HERE, forced, named
from .networks import CompSRTSwinIR, assert_same_pixels, distance, in_double, network, picture

pytestmark = pytest.mark.skipif(not engine_available(), reason="the engine is not compiled here")

EXACT = 1e-5  # all codes are the same; an overflow makes it 0.1 and more


@pytest.fixture(params=LEVELS_HERE)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return forced(request.param, monkeypatch)


def attentions(made: CompSRTSwinIR) -> list[Any]:
    return [block.attn for layer in made.layers for block in layer.residual_group.blocks]


def described(made: CompSRTSwinIR) -> Any:
    """The first block as the compiled library gets it."""
    found = Engine(made, threads=1)._described
    group = c.Group.from_address(found.group)
    return c.Block.from_address(group.block)


def give(linear: Any, heads: int, bias: float, weight: float = 0) -> None:
    """Let the first channel of each head be `bias`, or ±`weight` by the sign of an input, and the others 0.

    Transformed, it is the same in all channels: beyond the bounds every code is the first, or every one is the last.
    """
    first = slice(0, None, linear.out_features // heads)
    with torch.no_grad():
        linear.weight.zero_()[first, 0] = weight
        linear.bias.zero_()[first] = bias


def check(made: CompSRTSwinIR, x: torch.Tensor) -> None:
    assert distance(Engine(made, threads=1)(x), in_double(made, x)) < EXACT


KEPT = {"keep": True}
ALL_KEPT = {place: KEPT for place in ("*.qkv.[qkv]", "*.proj", "*.fc[12]", "conv*", "*.conv*", "upsample*")}


def _exact(level: str, fits_16_bits: bool) -> bool:
    """Whether the level's sums hold what 16 bits hold or do not."""
    return named(level).sum_bits == 32 or (fits_16_bits and named(level).sum_bits == 16)


@pytest.mark.parametrize(("bits", "fits"), [(6, True), (7, False)])
def test_scores_of_the_largest_codes(level: str, bits: int, fits: bool) -> None:
    """16 channels: 6 bits make (63 · 8 + 32 · 16) · 32 = 32512, 7 bits four times as much."""
    spec = {"bits": bits, "transform": "hadamard"}
    overrides = {**ALL_KEPT, "*.attn.[qk]": spec, "*.attn.v": KEPT, "*.attn.map": KEPT}
    made = network(arch={"embed_dim": 32}, overrides=overrides)
    for attention in attentions(made):
        give(attention.qkv.q, attention.num_heads, bias=1e3)
        give(attention.qkv.k, attention.num_heads, bias=0, weight=1e6)
        for quantizer in (attention.q_quantizer, attention.k_quantizer):
            quantizer.set_bounds(-1, 1)
    assert bool(described(made).attention.integer_scores) == _exact(level, fits)
    check(made, picture(16, 16))


@pytest.mark.parametrize(
    ("transform", "bits", "parts"),
    [
        ("hadamard", 5, 1),
        ("hadamard", 6, 2),
        ("hadamard", 8, 2),
        ("hadamard_softmax", 6, 1),
        ("hadamard_softmax", 7, 2),
    ],
)
def test_values_of_the_largest_codes_transformed_along_tokens(
    level: str, transform: str, bits: int, parts: int
) -> None:
    """64 tokens, 16 channels: codes up to 31 make 31744, those up to 63 twice as much, which takes two matrices.

    Without the first coefficient, which `hadamard_softmax` leaves out, it is half as much.
    """
    overrides = {
        **ALL_KEPT,
        "*.attn.[qk]": {"bits": 4},
        "*.attn.v": {"bits": bits, "transform": "hadamard"},
        "*.attn.map": {"bits": 8, "transform": transform},
    }
    made = network(arch={"embed_dim": 32}, overrides=overrides)
    for attention in attentions(made):
        give(attention.qkv.v, attention.num_heads, bias=1e3)
        attention.v_quantizer.set_bounds(0, 1)
    assert described(made).attention.integer_map == (parts if level != "plain" else 0)
    check(made, picture(16, 16))


@pytest.mark.parametrize("transform", ["none", "hadamard", "hadamard_softmax"])
@pytest.mark.parametrize("window", [8, 16])
def test_values_in_two_parts(level: str, window: int, transform: str) -> None:
    """8 bits in two matrices of 16, with all kinds of codes."""
    v = {"bits": 8, "transform": "hadamard"}
    overrides = {
        **ALL_KEPT,
        "*.attn.[qk]": {"bits": 4},
        "*.attn.v": v,
        "*.attn.map": {"bits": 6, "transform": transform},
    }
    arch = {"embed_dim": 32, "window_size": window, "img_size": window, "depths": [1]}
    made = network(arch=arch, overrides=overrides)
    assert described(made).attention.integer_map == (0 if level == "plain" else 1 if transform == "none" else 2)
    assert_same_pixels(Engine(made, threads=1), made, (1, 3, window, window))


@pytest.mark.parametrize(("window", "fits"), [(16, True), (32, False)])
def test_sums_of_the_largest_codes_of_map_and_values(level: str, window: int, fits: bool) -> None:
    """64 channels of 255 make values of 16320; 255 times so much in 256 tokens fits, in 1024 it does not."""
    overrides = {
        **ALL_KEPT,
        "*.attn.[qk]": {"bits": 4},
        "*.attn.v": {"bits": 8, "transform": "hadamard"},
        "*.attn.map": {"bits": 8, "transform": "none"},
    }
    arch = {"embed_dim": 64, "num_heads": [1], "window_size": window, "img_size": window, "depths": [1]}
    made = network(arch=arch, overrides=overrides)
    for attention in attentions(made):
        give(attention.qkv.v, 1, bias=1e3)
        attention.v_quantizer.set_bounds(0, 1)
        give(attention.qkv.q, 1, bias=0)
        with torch.no_grad():
            attention.relative_position_bias_table.zero_()
        attention.map_quantizer.set_bounds(0, 0.5 / window**2)  # each is 1 / tokens
    assert bool(described(made).attention.integer_map) == (level != "plain" and fits)
    check(made, picture(window, window))


@pytest.mark.parametrize(("weight", "fits"), [(68, True), (69, False), (-68, True), (-69, False)])
def test_products_of_the_largest_codes_and_weights(level: str, weight: int, fits: bool) -> None:
    """A sum of AVX2 is of 32 products: 32 · 15 · 68 = 32640."""
    both = {"transform": "hadamard", "granularity": "per_tensor"}
    others = {place: KEPT for place in (*ALL_KEPT, "*.attn.[qkv]", "*.attn.map") if place != "*.fc[12]"}
    overrides = {**others, "*.fc2": KEPT, "*.fc1.weight": {"bits": 8, **both}}
    made = network(arch={"embed_dim": 64, "depths": [1]}, activation=both, overrides=overrides)
    block = made.layers[0].residual_group.blocks[0]
    layer = block.mlp.fc1
    layer.weight_quantizer.set_bounds(*((0, 1) if weight > 0 else (-1, 0)))
    layer.weight_codes.fill_(weight % 255)
    layer._decoded = None
    layer.input_quantizer.set_bounds(0, 1)
    with torch.no_grad():
        block.norm2.weight.zero_()
        block.norm2.bias.zero_()[0] = 1e3
    assert bool(described(made).fc1.integer) == _exact(level, fits)
    check(made, picture(16, 16))
