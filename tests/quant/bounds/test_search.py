"""Bound searches: DOBI's choice without DOBI's loop, and bounds that are valid for a quantizer."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from compsrt_plugin.quant.bounds.samples import EXACT_LIMIT, Samples
from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES, register_bound_search

BITS = (2, 3, 4, 8)
DOBI = ("dobi", "dobi_one_sided")
LARGE = EXACT_LIMIT + 64 * 100  # counted in bins
SMALL = 1280  # kept exactly


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Many short operations on a busy machine: threads that wait for each other take longer than one alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def candidates(x: Tensor, one_sided: bool) -> list[tuple[float, float]]:
    low, high = x.min().item(), x.max().item()
    if one_sided:
        return [(low, high - i * (high - low) / 100) for i in range(100)]
    return [(low + i * (high - low) / 200, high - i * (high - low) / 200) for i in range(100)]


def quantize(x: Tensor, lower: float, upper: float, bits: int) -> Tensor:
    step = (upper - lower) / (2**bits - 1)
    return x.clamp(lower, upper).sub_(lower).div_(step).round_().mul_(step).add_(lower)


def true_error(x: Tensor, lower: float, upper: float, bits: int) -> float:
    return torch.linalg.vector_norm(quantize(x, lower, upper, bits).sub_(x)).item()


def naive_errors(x: Tensor, bits: int, one_sided: bool) -> list[float]:
    return [true_error(x, *bounds, bits) for bounds in candidates(x, one_sided)]


def naive_dobi(x: Tensor, bits: int, one_sided: bool = False) -> tuple[float, float]:
    """The search as published: every candidate quantizes the whole tensor; the first of the smallest errors."""
    errors = naive_errors(x, bits, one_sided)
    return candidates(x, one_sided)[errors.index(min(errors))]


def search(name: str, x: Tensor, bits: int = 3) -> tuple[float, float]:
    samples = Samples()
    samples.add(x)
    return BOUND_SEARCHES[name](samples, bits)


def normal(count: int) -> Tensor:
    return torch.randn(count)


def softmax_maps(count: int, sharpness: float = 3.0) -> Tensor:
    return torch.softmax(sharpness * torch.randn(count // 64, 64), -1)


def masked_softmax_maps(count: int) -> Tensor:
    return torch.softmax(3 * torch.randn(count // 64, 64) - 100 * (torch.arange(64) % 2), -1)


def hadamard_softmax_maps(count: int) -> Tensor:
    matrix = torch.ones(1, 1)
    while len(matrix) < 64:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return softmax_maps(count) @ matrix / 8  # first coefficient of each row: 1/8


def with_outliers(*outliers: float) -> Callable[[int], Tensor]:
    return lambda count: torch.cat([torch.randn(count), torch.tensor(outliers)])


DISTRIBUTIONS: dict[str, Callable[[int], Tensor]] = {
    "normal": normal,
    "laplace": lambda n: torch.randn(n) * torch.empty(n).exponential_().sqrt(),
    "student-t, 3 degrees": lambda n: torch.randn(n) / torch.randn(n, 3).square().mean(1).sqrt(),
    "cauchy": lambda n: torch.empty(n).cauchy_(),
    "lognormal": lambda n: (2 * torch.randn(n)).exp(),
    "uniform": torch.rand,
    "softmax maps": softmax_maps,
    "peaked softmax maps": functools.partial(softmax_maps, sharpness=12.0),
    "flat softmax maps": functools.partial(softmax_maps, sharpness=0.3),
    "masked softmax maps": masked_softmax_maps,
    "hadamard of softmax maps": hadamard_softmax_maps,
    "gelu": lambda n: functional.gelu(2 * torch.randn(n)),
    "gelu of mostly negative": lambda n: functional.gelu(0.3 * torch.randn(n) - 1),
    "relu": lambda n: torch.randn(n).relu(),
    "mixture with a wide tail": lambda n: torch.randn(n) * torch.where(torch.rand(n) < 1e-3, 50.0, 1.0),
    "one outlier": with_outliers(200.0),
    "one far outlier": with_outliers(2000.0),
    "four outliers": with_outliers(100.0, 120.0, -60.0, 77.0),
    "two narrow modes": lambda n: 0.01 * torch.randn(n) + torch.randint(2, (n,)),
    "shifted": lambda n: 0.1 * torch.randn(n) + 5,
    "shifted far": lambda n: 0.01 * torch.randn(n) + 1000,
    "quantized before": lambda n: (4 * torch.randn(n)).round() / 4,
    "quantized before, one outlier": lambda n: torch.cat([(4 * torch.randn(n)).round() / 4, torch.ones(1) * 100]),
    "mostly zeros": lambda n: torch.randn(n) * (torch.rand(n) < 0.1),
    "tiny": lambda n: 1e-20 * torch.randn(n),
    "huge": lambda n: 1e20 * torch.randn(n),
}


def draw(distribution: str, count: int) -> Tensor:
    torch.manual_seed(0)
    return DISTRIBUTIONS[distribution](count)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_on_large_tensors_the_true_error_is_within_a_thousandth_of_the_best(distribution: str):
    x = draw(distribution, LARGE)
    assert x.numel() > EXACT_LIMIT
    for name, widths in {"dobi": BITS, "dobi_one_sided": (3, 8)}.items():
        for bits in widths:
            chosen = true_error(x.double(), *search(name, x, bits), bits)
            best = min(naive_errors(x.double(), bits, name == "dobi_one_sided"))
            assert chosen <= 1.001 * best, (name, bits)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_on_small_tensors_the_choice_is_that_of_the_naive_loop(distribution: str):
    x = draw(distribution, SMALL)
    for name in DOBI:
        for bits in BITS:
            expected = naive_dobi(x.double(), bits, name == "dobi_one_sided")
            assert search(name, x, bits) == pytest.approx(expected, rel=1e-12), (name, bits)


@pytest.mark.parametrize("name", DOBI)
@pytest.mark.parametrize("bits", BITS)
def test_the_naive_loop_in_float32_finds_nothing_better(bits: int, name: str):
    """In float32 the loop's own rounding decides near-ties, so errors are compared, not bounds."""
    x = draw("normal", SMALL)
    naive = naive_dobi(x, bits, name == "dobi_one_sided")
    found = true_error(x.double(), *search(name, x, bits), bits)
    assert found <= true_error(x.double(), *naive, bits) * (1 + 1e-9)


@pytest.mark.parametrize("name", BOUND_SEARCHES)
@pytest.mark.parametrize("distribution", ["softmax maps", "four outliers", "cauchy"])
def test_the_order_of_the_batches_changes_no_bound(distribution: str, name: str):
    batches = draw(distribution, LARGE).flatten().split(LARGE // 5)
    there, back = Samples(), Samples()
    for batch in batches:
        there.add(batch)
    for batch in reversed(batches):
        back.add(batch)
    assert BOUND_SEARCHES[name](there, 4) == BOUND_SEARCHES[name](back, 4)


@pytest.mark.parametrize("count", [3, SMALL, LARGE])
def test_the_first_of_equal_candidates_wins(count: int):
    two_values = torch.tensor([-1.0, 2.0]).repeat(count)
    assert search("dobi", two_values) == search("dobi_one_sided", two_values) == (-1.0, 2.0)


def test_one_sided_bounds_start_at_the_minimum():
    lower, upper = search("dobi_one_sided", draw("gelu", SMALL))
    assert lower == draw("gelu", SMALL).min().item()
    assert upper < draw("gelu", SMALL).max().item()


@pytest.mark.parametrize("count", [SMALL, LARGE])
def test_minmax_clips_nothing(count: int):
    x = draw("cauchy", count)
    assert search("minmax", x) == (x.min().item(), x.max().item())


@pytest.mark.parametrize("count", [SMALL, LARGE])
def test_percentile_clips_one_percent_at_each_end(count: int):
    x = draw("normal", count)
    lower, upper = search("percentile", x)
    assert (x < lower).double().mean().item() == pytest.approx(0.01, abs=1e-3)
    assert (x > upper).double().mean().item() == pytest.approx(0.01, abs=1e-3)


def test_percentile_does_not_clip_a_tensor_of_zeros_to_nothing():
    x = torch.zeros(SMALL)
    x[5], x[6] = -3.0, 4.0
    assert search("percentile", x) == (-3.0, 4.0)


@pytest.mark.parametrize("name", BOUND_SEARCHES)
@pytest.mark.parametrize("count", [1, LARGE])
@pytest.mark.parametrize("value", [0.0, 0.1, -1000.0, 3e-30, -3e38])
def test_a_constant_tensor_is_represented_exactly(value: float, count: int, name: str):
    x = torch.full((count,), value)
    for bits in BITS:
        lower, upper = torch.tensor(search(name, x, bits))
        assert lower < upper
        assert torch.equal(quantize(x, lower.item(), upper.item(), bits), x)


@pytest.mark.parametrize("name", BOUND_SEARCHES)
def test_bounds_stay_apart_in_float32_where_values_differ_by_their_last_bit(name: str):
    x = torch.tensor([1000.0, 1000.0]).nextafter(torch.tensor([1000.0, 2000.0]))
    lower, upper = torch.tensor(search(name, x))
    assert lower < upper


def test_a_name_is_registered_once():
    before = dict(BOUND_SEARCHES)
    with pytest.raises(ValueError, match="'dobi' is registered already"):
        register_bound_search("dobi")(BOUND_SEARCHES["minmax"])
    assert before == BOUND_SEARCHES


def test_a_search_is_not_asked_about_a_constant_tensor(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("compsrt_plugin.quant.bounds.search.BOUND_SEARCHES", {})

    @register_bound_search("never")
    def never(samples: Samples, bits: int) -> tuple[float, float]:
        raise AssertionError("asked")

    samples = Samples()
    samples.add(torch.full((4, 4), 3.0))
    lower, upper = never(samples, 4)
    assert lower == 3.0 < upper
    samples.add(torch.full((1, 1), 4.0))
    with pytest.raises(AssertionError, match="asked"):
        never(samples, 4)
