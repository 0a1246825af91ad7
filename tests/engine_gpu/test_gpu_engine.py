"""The GPU engine gives the pixels of the simulated network; small networks, since the interpreter is slow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from engine.networks import distance, in_double, network, picture
from torch import Tensor

from compsrt_plugin.engine_gpu import GpuEngine
from compsrt_plugin.engine_gpu.block import form_of
from compsrt_plugin.engine_gpu.plan import Program, plan_for

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NEAR = 2e-3 if DEVICE == "cuda" else 1e-6  # see `distance`; on a GPU a code may flip, exp and sums differing in a bit


def is_near(made: Any, x: Tensor) -> bool:
    """The engine is the simulated network, or no further from it than twice what that is in double precision."""
    with torch.no_grad():
        wanted = made(x)
    found = distance(GpuEngine(made, DEVICE)(x).cpu(), wanted)
    return found <= NEAR or found <= 2 * distance(in_double(made, x), wanted)


def check(made: Any, height: int = 16, width: int = 8) -> None:
    """Near on one of two pictures: a code that flips where it counts moves one of them further."""
    assert any(is_near(made, picture(height, width, seed=seed)) for seed in (1, 3))


TOKENS = {"granularity": "per_token"}
SIGNED: dict[str, Any] = {"transform": "hadamard_signed"}
SOFTMAX = {"*.map": {"transform": "hadamard_softmax"}}
QUANTIZED: dict[str, dict[str, Any]] = {
    "plus": {"recipe": "plus", "bits": 3},
    "plus, 2 bits": {"recipe": "plus", "bits": 2},
    "signed, scales of tensors": {"weight": SIGNED, "activation": SIGNED, "overrides": SOFTMAX},
    "plain, scales of tokens": {"activation": TOKENS},
    "plain, keys without scales of tokens": {
        "activation": TOKENS,
        "overrides": {"*.attn.k": {"granularity": "per_tensor"}},
    },
    "untransformed": {
        "weight": {"transform": "none", "granularity": "per_channel"},
        "activation": {"transform": "none", **TOKENS},
    },
    "5 bits, but 6 for the map": {"bits": 5, "overrides": {"*.map": {"bits": 6}}},
    "untransformed map": {"overrides": {"*.map": {"transform": "none"}}},
}


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantizers(name: str) -> None:
    check(network(**QUANTIZED[name]))


ARCHS: dict[str, dict[str, Any]] = {
    "window of 4": {"window_size": 4},
    "two groups, full heads": {"depths": [1, 2], "num_heads": [1, 1], "embed_dim": 16},
    "three convolutions, x3": {"resi_connection": "3conv", "embed_dim": 24, "upscale": 3},
    "no biases, no patch norm, range 255": {"qkv_bias": False, "patch_norm": False, "img_range": 255.0},
}


@pytest.mark.parametrize("name", ARCHS)
def test_shapes_of_networks(name: str) -> None:
    check(network(recipe="plus", arch=ARCHS[name]))


def test_convolutions_in_full_precision() -> None:
    check(network(recipe="plus", conv_bits=None))


def test_batches_are_pictures_side_by_side() -> None:
    engine = GpuEngine(network(recipe="plus"), DEVICE)
    x = picture(8, 16, batch=2)
    together = engine(x)
    assert together.shape == (2, 3, 16, 32)
    assert all(torch.equal(engine(x[i : i + 1])[0], together[i]) for i in range(2))


def test_no_plan_changes_the_pixels() -> None:
    made, x = network(recipe="plus"), picture(8, 16)
    plan = plan_for(form_of(made.layers[0].residual_group.blocks[0]), x.shape)
    wanted = GpuEngine(made, DEVICE)(x)
    for other in (
        replace(plan, attention=Program(2, 8, bytes=not plan.attention.bytes), tokens=Program(128)),
        replace(plan, tokens=Program(16, 2, bytes=not plan.tokens.bytes, registers=168), pixels=Program(128)),
    ):
        engine = GpuEngine(made, DEVICE)
        engine.plan = other
        assert distance(engine(x), wanted) <= NEAR


def test_only_the_last_shapes_are_kept() -> None:
    engine = GpuEngine(network(recipe="plus", arch={"depths": [1]}), DEVICE)
    engine._run = lambda shape, run=engine._run: (run(shape), lambda x: x)[1]  # keeps, but computes nothing
    for width in (8, 16, 24, 32, 40, 16):
        engine(picture(8, width))
    assert [shape[3] for shape in engine._graphs] == [24, 32, 40, 16]
