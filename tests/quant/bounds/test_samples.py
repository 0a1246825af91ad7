"""`Samples`: bounded memory, exact minimum and maximum, and a result independent of the order of batches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from compsrt_plugin.quant.bounds.samples import BINS, EXACT_LIMIT, Distribution, Samples

MANY = 2 * EXACT_LIMIT


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Many short operations on a busy machine: threads that wait for each other take longer than one alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def gather(*batches: Tensor) -> Samples:
    samples = Samples()
    for batch in batches:
        samples.add(batch)
    return samples


def normal(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def bytes_held(samples: Samples) -> int:
    held = 0
    for value in vars(samples).values():
        tensors = value if isinstance(value, list) else [value]
        held += sum(t.untyped_storage().nbytes() for t in tensors if isinstance(t, Tensor))
    return held


def same(a: Distribution, b: Distribution) -> bool:
    return a.centre == b.centre and all(
        torch.equal(getattr(a, name), getattr(b, name)) for name in ("knots", "prefix", "density")
    )


@pytest.mark.parametrize("count", [1, 1000, EXACT_LIMIT, EXACT_LIMIT + 1, MANY])
def test_count_minimum_and_maximum_are_exact(count: int):
    x = normal(count)
    samples = gather(*x.split(count // 3 + 1))
    assert (samples.count, samples.minimum, samples.maximum) == (count, x.min().item(), x.max().item())


def test_memory_stays_bounded_however_many_batches_come():
    samples = gather(normal(EXACT_LIMIT))
    full = bytes_held(samples)
    held = []
    for seed in range(10):
        samples.add(normal(EXACT_LIMIT, seed) * (1 + seed))
        held.append(bytes_held(samples))
    assert full == 4 * EXACT_LIMIT
    assert set(held) == {8 * BINS}


def test_every_value_is_counted_while_the_range_grows():
    samples = gather(*(normal(EXACT_LIMIT, seed) * 3.0**seed + seed for seed in range(6)))
    assert samples.distribution().totals[0] == samples.count == 6 * EXACT_LIMIT


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("shift", [0.0, 100.0, -7.5])
def test_the_order_and_the_split_of_batches_change_nothing(shift: float, scale: float):
    x = (normal(MANY) + shift) * scale
    x[12345] *= 30
    one_by_one = gather(*x.split(30_011)).distribution()
    assert same(one_by_one, gather(*reversed(x.split(70_021))).distribution())
    assert same(one_by_one, gather(x.view(64, 4, -1).transpose(0, 2)).distribution())


def test_few_values_are_kept_exactly():
    x = normal(EXACT_LIMIT).double()
    distribution = gather(*x.split(999)).distribution()
    for point in (-5.0, -1.0, 0.25, 3.0, 9.0):
        below = x[x < point] - distribution.centre
        expected = torch.stack([torch.ones_like(below), below, below**2]).sum(1)
        torch.testing.assert_close(distribution.below(torch.tensor(point - distribution.centre)), expected)


@pytest.mark.parametrize("count", [1000, MANY])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, 1.0])
def test_a_quantile_splits_the_values_at_its_share(share: float, count: int):
    x = normal(count)
    at_or_below = (x <= gather(x).distribution().quantile(share) + 1e-6).double().mean().item()
    assert at_or_below == pytest.approx(share, abs=1 / BINS + 1e-3 * (count == MANY))


def test_exact_zeros_count_as_zeros():
    x = torch.cat([normal(MANY), torch.zeros(10 * MANY)])
    distribution = gather(x).distribution()
    near = torch.tensor([-1e-3, 1e-3], dtype=torch.float64) - distribution.centre
    number, total, _ = distribution.below(near).diff(dim=1).squeeze(1)
    assert (total / number + distribution.centre).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("count", [1, EXACT_LIMIT + 1])
@pytest.mark.parametrize("value", [0.0, 0.1, -3e38, 1e-42])
def test_a_constant_tensor_has_all_its_values_at_one_point(value: float, count: int):
    samples = gather(torch.full((count,), value))
    distribution = samples.distribution()
    assert samples.minimum == samples.maximum == torch.tensor(value).item()
    assert distribution.totals[0] == count
    assert distribution.quantile(0.5) == samples.minimum


def test_the_extremes_of_float32_fit():
    largest = torch.finfo(torch.float32).max
    samples = gather(torch.tensor([largest, -largest]), normal(MANY))
    assert (samples.minimum, samples.maximum) == (-largest, largest)
    assert samples.distribution().totals[0] == MANY + 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("count", [10, MANY])
def test_values_that_are_not_finite_are_refused_and_leave_no_trace(count: int, bad: float):
    samples = gather(torch.ones(5))
    x = normal(count)
    x[count // 2] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        samples.add(x)
    assert (samples.count, samples.minimum, samples.maximum) == (5, 1.0, 1.0)


def test_no_values_have_no_ends():
    samples = gather(torch.empty(0, 3))
    assert samples.count == 0
    for ask in (lambda: samples.minimum, lambda: samples.maximum, samples.distribution):
        with pytest.raises(ValueError, match="no values"):
            ask()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_any_real_dtype_is_taken(dtype: torch.dtype):
    x = (normal(MANY) * 100).to(dtype)
    assert same(gather(x).distribution(), gather(x.float()).distribution())


def test_changing_the_tensor_afterwards_changes_nothing():
    x = normal(100)
    samples = gather(x)
    before = samples.distribution()
    x.zero_()
    assert same(before, samples.distribution())


def test_batches_may_come_with_gradients_or_from_inference_mode():
    samples = gather(normal(MANY).requires_grad_())
    with torch.inference_mode():
        samples.add(normal(MANY) * 9)
    samples.add(normal(MANY) * 50)
    assert samples.count == 3 * MANY
    assert not samples.distribution().prefix.requires_grad
