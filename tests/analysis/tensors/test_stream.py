"""What is kept of a stream is exact where it says so, uniform where it samples, and does not grow."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from compsrt_plugin.analysis.tensors.stream import Moments, Reservoir, Stream


def test_moments_of_batches_are_those_of_all_values_together():
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(1000, generator=generator) ** 3 + 40 * shift for shift in (1, 3, 2)]
    moments = Moments()
    for batch in batches:
        moments.add(batch)
    together = torch.cat(batches).double().numpy()
    assert moments.count == 3000
    assert (moments.minimum, moments.maximum) == (together.min(), together.max())
    assert moments.mean == pytest.approx(together.mean(), rel=1e-5)
    assert moments.std == pytest.approx(together.std(), rel=1e-4)
    assert moments.kurtosis == pytest.approx(stats.kurtosis(together), abs=1e-3)


def test_values_far_from_zero_keep_their_variance():
    moments = Moments()
    moments.add(torch.tensor([1000.0, 1000.5, 1001.0]))
    assert moments.std == pytest.approx(0.40825, rel=1e-3)


def test_equal_values_have_no_kurtosis():
    moments = Moments()
    moments.add(torch.full((100,), 7.0))
    assert (moments.span, moments.std, moments.kurtosis) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_and_nothing_is_taken(bad: float):
    moments = Moments()
    with pytest.raises(ValueError, match="NaN or infinity"):
        moments.add(torch.tensor([1.0, bad]))
    assert moments.count == 0


def test_a_small_stream_is_kept_whole():
    reservoir = Reservoir("x", most=100)
    reservoir.add(torch.arange(20.0).reshape(10, 2))
    reservoir.add(torch.arange(20.0, 40).reshape(10, 2))
    assert sorted(reservoir.vectors.flatten().tolist()) == list(range(40))


def test_every_vector_of_a_long_stream_is_equally_likely():
    counts = torch.zeros(40)
    for seed in range(400):
        reservoir = Reservoir("x", seed, most=20)  # ten vectors of two
        for start in range(0, 40, 8):
            reservoir.add(torch.arange(start, start + 8.0).repeat_interleave(2).reshape(8, 2))
        assert reservoir.vectors.shape == (10, 2)
        assert (reservoir.vectors[:, 0] == reservoir.vectors[:, 1]).all()  # vectors stay whole
        counts[reservoir.vectors[:, 0].long()] += 1
    # 400 x 10 / 40 = 100 each; χ² of 39 degrees of freedom is below 72 with probability 0.999
    assert float(((counts - 100) ** 2 / 100).sum()) < 72


def test_a_sample_depends_on_name_and_seed_alone():
    def sample(name: str, seed: int) -> list[float]:
        reservoir = Reservoir(name, seed, most=4)
        reservoir.add(torch.arange(50.0)[:, None])
        return sorted(reservoir.vectors.flatten().tolist())

    assert sample("a", 0) == sample("a", 0)
    assert len({tuple(sample(name, seed)) for name in "ab" for seed in (0, 1)}) == 4


def test_a_stream_looks_at_each_domain():
    stream = Stream("x", ("none", "hadamard"))
    x = torch.tensor([[[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, -1.0]]])
    stream.add(x)
    # each row is one coefficient of 2 and three of 0
    assert (stream.moments["none"].minimum, stream.moments["none"].maximum) == (-1.0, 1.0)
    assert (stream.moments["hadamard"].minimum, stream.moments["hadamard"].maximum) == (0.0, 2.0)
    assert stream.sample.vectors.shape == (2, 4)


def test_vectors_of_another_width_are_refused():
    stream = Stream("x", ("none",))
    stream.add(torch.ones(2, 4))
    with pytest.raises(ValueError, match="vectors of 3 numbers after vectors of 4"):
        stream.add(torch.ones(2, 3))
