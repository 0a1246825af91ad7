"""Statistics of one tensor are those of its definition, and errors those of the package's own quantizer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from compsrt_plugin.analysis.tensors.stream import Stream
from compsrt_plugin.analysis.tensors.tensor_statistics import Statistics, normality, quantization_errors, statistics_of
from compsrt_plugin.quant import BOUND_SEARCHES, Samples
from compsrt_plugin.quant.fake import strict_fake_quantize


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def described(sample: Tensor, transform: str = "none", fine: str | None = None) -> Statistics:
    stream = Stream("place", (transform,))
    stream.add(sample)
    return statistics_of("place", sample, stream.moments[transform], transform, fine)


def test_shares_near_zero_and_outliers_are_counted():
    sample = torch.tensor([[0.0, 0.0005, -0.005, 0.05], [0.5, -0.5, 0.5, 100.0]])
    found = described(sample)
    assert found.near_zero == {"0.001": 2 / 8, "0.01": 3 / 8, "0.1": 4 / 8}
    unit = float(sample.square().mean().sqrt())  # 35.4
    assert found.near_zero_relative == {
        f"{bound:g}": float((sample.abs() <= bound * unit).double().mean()) for bound in (0.01, 0.1, 0.5)
    }
    assert found.outliers == 0.0 and found.peak == pytest.approx((100 - sample.mean()) / sample.std(correction=0))
    far = torch.zeros(100, 4)
    far[0, 0] = 1.0
    assert described(far).outliers == 1 / 400


def test_the_error_is_that_of_the_quantizer_with_the_bounds_of_the_search():
    sample = normal(64, 16)
    samples = Samples()
    samples.add(sample)
    for bits in (2, 3, 4):
        lower, upper = (torch.tensor(bound) for bound in BOUND_SEARCHES["dobi"](samples, bits))
        quantized = strict_fake_quantize(sample, (upper - lower) / (2**bits - 1), lower, 2**bits - 1)
        expected = float((quantized - sample).square().sum() / sample.square().sum())
        assert quantization_errors(sample, "none", "per_tensor")[str(bits)] == pytest.approx(expected, rel=1e-4)


def test_an_orthonormal_transform_of_full_width_leaves_the_errors_of_normal_values():
    sample = normal(512, 64)
    before, after = (quantization_errors(sample, name, "per_tensor") for name in ("none", "hadamard"))
    assert after == pytest.approx(before, rel=0.05)


def test_a_transform_lowers_the_error_of_a_tensor_with_outlying_channels():
    sample = normal(256, 64)
    sample[:, 5] *= 30
    before, after = (quantization_errors(sample, name, "per_tensor")["4"] for name in ("none", "hadamard"))
    assert after < before / 2


def test_a_scale_for_each_row_or_token_helps_where_their_sizes_differ():
    sample = normal(64, 64) * torch.logspace(-2, 0, 64)[:, None]
    coarse = quantization_errors(sample, "none", "per_tensor")["3"]
    for granularity in ("per_channel", "per_token"):
        assert quantization_errors(sample, "none", granularity)["3"] < coarse


def test_zeros_have_no_error():
    assert quantization_errors(torch.zeros(8, 8), "hadamard", "per_tensor") == {"2": 0.0, "3": 0.0, "4": 0.0}


def test_four_tests_tell_normal_values_from_others():
    gaussian, uniform = normality(normal(20000), 0), normality(torch.rand(20000), 0)
    assert set(gaussian) == {"shapiro_wilk", "dagostino", "anderson_darling", "jarque_bera"}
    for test, found in uniform.items():
        assert found.rejected == 1.0 and gaussian[test].rejected <= 0.5
    assert gaussian["shapiro_wilk"].statistic > 0.99 > uniform["shapiro_wilk"].statistic
    assert gaussian["anderson_darling"].statistic < 1 < uniform["anderson_darling"].statistic


def test_a_normal_sample_is_rejected_about_as_often_as_the_level_says():
    rejected = [one.rejected for seed in range(25) for one in normality(normal(4000, seed=seed), seed).values()]
    assert sum(rejected) / len(rejected) < 0.11  # 100 subsamples at 5 %, for each of four tests


def test_constant_values_are_not_tested():
    assert normality(torch.ones(1000), 0) == {}
    assert described(torch.ones(10, 4)).normality == {}
