"""Which sums fit the integers they are taken in: each proof at its edge, against instructions as processors do them."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from compsrt_plugin.engine.sums import INT16, INT32, SIGNED_BYTE, UPPER, dots_fit, map_parts, sparse_weight, weight_fits
from compsrt_plugin.native import Level
from compsrt_plugin.quant import hadamard_matrix

AVX2, VNNI = Level("avx2", 16, 2, 0, True), Level("avx512", 32, 4, 0, False)
NEON, PLAIN = Level("neon", 32, 4, 128, False), Level("plain", 0, 0, 0, False)


def scale(top: int, centre: int = 0, largest: int = 0) -> Any:
    """A stand-in for the scale of an operand with codes 0…top."""
    return SimpleNamespace(top=top, centre=centre, largest=largest)


def summed(level: Level, codes: np.ndarray, weights: np.ndarray, start: int) -> int:
    """Σ codes · weights + start as `dot` of `csrc/simd` takes it: (n,), n a multiple of 4."""
    products = codes.astype(np.int64) * weights
    if level.sum_bits == 32:  # vpdpbusd
        return int((products.sum() + start + 2**31) % 2**32 - 2**31)
    pairs = products.reshape(-1, 2, 2).sum(2).clip(-(2**15), INT16)  # vpmaddubsw saturates
    lanes = pairs.sum(0) + np.array([start, 0])
    return int(((lanes + 2**15) % 2**16 - 2**15).sum())  # vpaddw wraps, vpmaddwd adds both


def is_exact(level: Level, top: int, centre: int, weights: np.ndarray) -> bool:
    """Whether the sums are right for the codes that lead furthest: all, none, those of one sign, those of one lane."""
    weights = np.pad(weights, (0, -len(weights) % 4))
    start = -centre * int(weights.sum())
    lane = np.arange(len(weights)) % 4 < 2
    chosen = [weights > 0, weights < 0, lane, ~lane]
    return all(
        summed(level, codes, weights, start) == int(codes @ weights) + start
        for a, b in itertools.product(chosen, repeat=2)
        for codes in (top * (a & b), top * (a | b))
    )


@pytest.mark.parametrize("columns", [6, 16, 30, 64])
@pytest.mark.parametrize(("top", "centre"), [(7, 3), (15, 0), (15, 15), (63, 32), (127, 0), (255, 128)])
def test_scores_fit_avx2_up_to_an_edge(top: int, centre: int, columns: int) -> None:
    fitting = [k for k in range(1, SIGNED_BYTE + 2) if dots_fit(AVX2, scale(top, centre), scale(0, 0, k), columns)]
    assert fitting and fitting == list(range(1, len(fitting) + 1))
    signs = [np.ones(columns, np.int64), np.resize([1, 1, -1, -1], columns), np.resize([1, -1], columns)]
    edge = len(fitting)
    assert all(is_exact(AVX2, top, centre, sign * edge * one) for one in signs for sign in (1, -1))
    # the next one: a byte holds no more, or, where nothing is centred, the sum is wrong
    if edge < SIGNED_BYTE and centre == 0:
        assert not is_exact(AVX2, top, centre, (edge + 1) * signs[0])


@pytest.mark.parametrize("columns", [66_308, 66_312])
def test_scores_fit_avx512_up_to_an_edge(columns: int) -> None:
    fits = columns * 255 * SIGNED_BYTE <= INT32
    assert fits == (columns == 66_308)
    assert dots_fit(VNNI, scale(255), scale(0, 0, SIGNED_BYTE), columns) == fits
    assert is_exact(VNNI, 255, 0, np.full(columns, SIGNED_BYTE)) == fits
    assert not dots_fit(VNNI, scale(255, 255), scale(0, 0, SIGNED_BYTE), 33_160)


@pytest.mark.parametrize("level", [VNNI, AVX2, NEON, PLAIN], ids=lambda level: level.name)
def test_centred_codes_of_keys_fit_a_byte(level: Level) -> None:
    assert dots_fit(level, scale(3), scale(0, 0, SIGNED_BYTE), 4) == (level != PLAIN)
    assert not dots_fit(level, scale(3), scale(0, 0, SIGNED_BYTE + 1), 4)


def test_sums_of_sparse_weights_must_fit_one_lane() -> None:
    """Four columns have two lanes otherwise."""
    codes = np.zeros((1, 4 * 30), np.int64)
    codes[0, [0, 2]] = 120
    codes[0, 4::4], codes[0, 6::4] = 30, 30  # two sums of 990
    for top, fits, sparse_fits in ((15, True, True), (16, True, True), (17, True, False), (33, True, False)):
        assert weight_fits(AVX2, scale(top), codes) == fits
        assert (sparse_weight(AVX2, scale(top), codes) is not None) == sparse_fits
    assert not weight_fits(AVX2, scale(34), codes)
    assert not weight_fits(AVX2, scale(17, 9), codes)  # begins at 9 · 1980
    assert sparse_weight(VNNI, scale(15), codes) is None


@pytest.mark.parametrize("edge", [INT16, INT16 + 1])
def test_a_sparse_row_fits_up_to_an_edge(edge: int) -> None:
    codes = np.zeros((2, 8), np.int64)
    codes[1, [0, 5]] = 100, 27  # 127 · 258 = 32766
    found = sparse_weight(AVX2, scale(258), codes)
    assert found is not None
    codes[1, 6] = 2 if edge > INT16 else 0
    assert (sparse_weight(AVX2, scale(258), codes) is not None) == (edge == INT16)


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
        assert weight_fits(AVX2, scale(top), codes) == (worst <= INT16)
        assert all(is_exact(AVX2, top, 0, row) for row in codes) == (worst <= INT16)


@pytest.mark.parametrize(("level", "columns", "most"), [(AVX2, 64, INT16), (VNNI, 66_312, INT32)])
def test_weights_fit_up_to_an_edge(level: Level, columns: int, most: int) -> None:
    """The weights fill one sum: of AVX2 every other pair of columns, of AVX-512 all."""
    top = 16 if level == AVX2 else 255
    codes = np.zeros((1, columns), np.int64)
    of_sum = np.flatnonzero(np.arange(columns) % 4 < 2) if level == AVX2 else np.arange(columns)
    left = most // top
    for column in of_sum:
        codes[0, column] = min(left, SIGNED_BYTE)
        left -= codes[0, column]
    assert left == 0 and codes[0, of_sum[-1]] < SIGNED_BYTE
    for weights in (codes, -codes):
        assert weight_fits(level, scale(top), weights) and is_exact(level, top, 0, weights[0])
    more = codes.copy()
    more[0, of_sum[-1]] += 1
    for weights in (more, -more):
        assert not weight_fits(level, scale(top), weights)
    assert not is_exact(level, top, 0, more[0])
    assert not weight_fits(level, scale(top, 1), codes)  # begins with 1 · Σ w'


def test_weights_fit_a_byte() -> None:
    codes = np.full((1, 4), SIGNED_BYTE)
    assert weight_fits(AVX2, scale(3), codes) and weight_fits(VNNI, scale(3), -codes)
    assert not weight_fits(PLAIN, scale(3), codes)
    for more in (codes + 1, -codes - 1):
        assert not weight_fits(AVX2, scale(3), more) and not weight_fits(VNNI, scale(3), more)


@pytest.mark.parametrize("level", [VNNI, NEON], ids=lambda level: level.name)
def test_codes_of_eight_bits_fit_a_product(level: Level) -> None:
    assert weight_fits(level, scale(255), np.full((1, 4), SIGNED_BYTE))
    assert dots_fit(level, scale(255), scale(0, 0, SIGNED_BYTE), 4)


def test_codes_alone_must_fit_too() -> None:
    for columns, level, fits in ((256, AVX2, True), (260, AVX2, False), (260, VNNI, True)):
        assert weight_fits(level, scale(255), np.zeros((1, columns), np.int64)) == fits
    codes = np.zeros((1, 512), np.int64)
    assert weight_fits(AVX2, scale(63, 31), codes) and not weight_fits(AVX2, scale(63, 60), codes)


LEVELS = pytest.mark.parametrize("level", [VNNI, AVX2, NEON], ids=lambda level: level.name)


@LEVELS
@pytest.mark.parametrize(("channels", "tokens"), [(1, 64), (16, 64), (64, 1024), (2, 1024)])
def test_transformed_values_fit_16_bits_up_to_an_edge(level: Level, channels: int, tokens: int) -> None:
    largest = INT16 // (channels * tokens)
    of_map = scale(15, 7)
    if largest:
        assert map_parts(level, scale(0, 0, largest), of_map, channels, tokens, "hadamard") == 1
    assert map_parts(level, scale(0, 0, largest + 1), of_map, channels, tokens, "hadamard") == 2
    assert map_parts(PLAIN, scale(0, 0, 1), scale(3), 1, 4, "hadamard") == 0


@LEVELS
def test_values_without_transform_fit_16_bits_up_to_an_edge(level: Level) -> None:
    assert map_parts(level, scale(0, 0, 255), scale(7), 128, 64, "none") == 1  # 32640
    assert map_parts(level, scale(0, 0, 256), scale(7), 128, 64, "none") == 2  # 32768


@LEVELS
def test_values_in_two_parts_fit_up_to_an_edge(level: Level) -> None:
    """The upper part is the nearest multiple of `UPPER`, and must fit 16 bits itself."""
    most = UPPER * (INT16 - 1)
    assert round(most / UPPER) <= INT16
    assert map_parts(level, scale(0, 0, most), scale(1), 1, 16, "none") == 2
    assert map_parts(level, scale(0, 0, most + 1), scale(1), 1, 16, "none") == 0


@LEVELS
@pytest.mark.parametrize(("top", "centre"), [(255, 0), (255, 255), (15, 7)])
@pytest.mark.parametrize("channels", [128, 1])
def test_sums_of_the_map_fit_32_bits_up_to_an_edge(level: Level, top: int, centre: int, channels: int) -> None:
    """As with a window of 32 and 64 channels a head: 1024 products. Upper parts are off by up to `UPPER` / 2 each."""
    tokens = 1024
    largest = (INT32 // ((top + centre) * tokens) - UPPER // 2) // channels
    in_one = INT16 // channels
    parts = 1 if largest <= in_one else 2
    assert map_parts(level, scale(0, 0, largest), scale(top, centre), channels, tokens, "none") == parts
    reached = (largest * channels + (UPPER // 2 if parts == 2 else 0)) * tokens
    assert reached * (top + centre) <= INT32
    beyond = max(largest, in_one) + 1
    assert (beyond * channels + UPPER // 2) * tokens * (top + centre) > INT32
    assert map_parts(level, scale(0, 0, beyond), scale(top, centre), channels, tokens, "none") == 0


@LEVELS
@pytest.mark.parametrize(("channels", "top", "parts"), [(16, 15, 1), (16, 16, 2), (8, 31, 1), (8, 32, 2)])
def test_without_its_first_coefficient_the_map_leaves_more_room(
    level: Level, channels: int, top: int, parts: int
) -> None:
    """V reaches tokens / 2 · channels · top where half of the tokens have codes 0 and the others `top`."""
    tokens, centre = 256, top // 2
    v, of_map = scale(top, centre, top - centre), scale(15, 0)
    assert map_parts(level, v, of_map, channels, tokens, "hadamard_softmax") == parts
    signs = hadamard_matrix(tokens, torch.device("cpu"), torch.float64)[1].sign().numpy()
    codes = np.where(signs > 0, top, 0) - centre
    w = channels * codes  # the first channel sums all rows of a token
    reached = abs(int(signs @ w))
    assert reached == channels * top * tokens // 2
    assert (reached <= INT16) == (parts == 1)


def test_a_transform_along_tokens_grows_sums_by_no_more_than_assumed() -> None:
    """Σ |H w| ≤ tokens^1.5 max |w|, reached where w is a bent sequence."""
    tokens = 64
    matrix = np.ones((1, 1), np.int64)
    while len(matrix) < tokens:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    halves = np.arange(tokens)
    bent = 1 - 2 * (sum((halves >> i & 1) * (halves >> i + 3 & 1) for i in range(3)) % 2)
    assert np.abs(matrix @ bent).sum() == tokens**1.5
    generator = np.random.default_rng(0)
    for _ in range(100):
        assert np.abs(matrix @ generator.integers(-1, 2, tokens)).sum() <= tokens**1.5
