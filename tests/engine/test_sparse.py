"""n:m pruning: what is left of four weights, and products that leave the zeros out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compsrt_plugin.engine import Engine, sums
from compsrt_plugin.engine.fold import describe_linear
from compsrt_plugin.engine.sparse import PAIRS, two_of_four

from .levels import LEVELS_HERE, forced, named
from .networks import network, picture

TWO_OF_FOUR = {"hook": "n_m", "ratio": None, "options": {"n": 2, "m": 4}}


def unfolded(found: np.ndarray) -> np.ndarray:
    """What `TwoOfFour`s stand for: (rows, columns)."""
    rows, groups = found.shape
    codes = np.zeros((rows, groups, 4), np.int8)
    for row, group in np.ndindex(rows, groups):
        number, pair = divmod(int(found[row, group]["at"]), len(PAIRS))
        assert number == group
        weights = found[row, group]["weights"]
        assert (weights[:2] == weights[2:]).all()
        codes[row, group, list(PAIRS[pair])] = weights[:2]
    return codes.reshape(rows, -1)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 2)])
def test_nothing_is_lost(n: int, m: int) -> None:
    generator = np.random.default_rng(0)
    codes = generator.integers(-30, 31, (24, 64)).astype(np.int8)
    order = generator.random((24, 64 // m, m)).argsort(axis=2)
    codes *= (order < n).reshape(24, 64)
    found = two_of_four(codes)
    assert found is not None and (unfolded(found) == codes).all()


def test_three_of_four_are_too_many() -> None:
    codes = np.zeros((2, 8), np.int8)
    codes[1, [4, 5, 7]] = 1
    assert two_of_four(codes) is None


@pytest.fixture
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    if "avx2" not in LEVELS_HERE:
        pytest.skip("this processor has no AVX2")
    forced("avx2", monkeypatch)


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize("arch", [{}, {"embed_dim": 60, "num_heads": [6]}, {"window_size": 12, "img_size": 24}])
def test_the_same_sums_as_with_the_zeros(arch: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = network(recipe="plus", pruning=TWO_OF_FOUR, arch=arch), picture(24, 48)
    without_zeros = Engine(made, threads=1)(x)
    monkeypatch.setattr(sums, "two_of_four", lambda codes: None)
    assert torch.equal(Engine(made, threads=1)(x), without_zeros)


@pytest.mark.parametrize("hook", ["n_m", "magnitude"])
@pytest.mark.parametrize("level", LEVELS_HERE)
def test_where_it_is_done(hook: str, level: str) -> None:
    pruning = TWO_OF_FOUR if hook == "n_m" else {"hook": "magnitude", "ratio": 0.5}
    made = network(recipe="plus", pruning=pruning)
    described = describe_linear(made.layers[0].residual_group.blocks[0].mlp.fc1, named(level))
    assert bool(described.sparse) == (hook == "n_m" and named(level).sparse)
