"""Which sums fit 16 bits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compsrt_plugin.engine.sums import INT16, sparse_weight, weight_fits


def codes_of(top: int, centre: int) -> Any:
    """A stand-in for the scale of an input with codes 0…top."""
    return SimpleNamespace(top=top, centre=centre)


def test_sums_of_sparse_weights_must_fit_one_lane() -> None:
    """Four columns have two lanes otherwise."""
    codes = np.zeros((1, 4 * 30), np.int64)
    codes[0, [0, 2]] = 120
    codes[0, 4::4], codes[0, 6::4] = 30, 30  # two sums of 990
    for top, fits, sparse_fits in ((15, True, True), (17, True, False), (33, True, False), (34, False, False)):
        assert weight_fits("avx2", codes_of(top, 0), codes) == fits
        assert (sparse_weight("avx2", codes_of(top, 0), codes) is not None) == sparse_fits
    assert not weight_fits("avx2", codes_of(17, 9), codes)  # begins at 9 · 1980


@pytest.mark.parametrize("top", [3, 15, 63])
@pytest.mark.parametrize("spread", [4, 20, 60])
def test_weights_fit_if_the_worst_codes_do(top: int, spread: int) -> None:
    """Even and odd pairs of columns are summed apart; a sum is farthest where codes follow the weights' signs."""
    generator = np.random.default_rng(spread)
    for _ in range(20):
        codes = generator.integers(-spread, spread + 1, (4, 62))
        worst = 0
        for pair in (np.arange(62) % 4 < 2, np.arange(62) % 4 >= 2):
            for sign in (1, -1):
                worst = max(worst, int((sign * codes * top * (sign * codes > 0))[:, pair].sum(1).max()))
        assert weight_fits("avx2", codes_of(top, 0), codes) == (worst <= INT16)


def test_codes_alone_must_fit_too() -> None:
    codes = np.zeros((1, 512), np.int64)
    assert not weight_fits("avx2", codes_of(255, 0), codes) and weight_fits("avx512", codes_of(255, 0), codes)
    assert weight_fits("avx2", codes_of(63, 31), codes) and not weight_fits("avx2", codes_of(63, 60), codes)
