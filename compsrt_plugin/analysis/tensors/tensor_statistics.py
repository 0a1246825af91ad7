"""Compute the statistics of one tensor in one domain, and its quantization error there."""

from __future__ import annotations

import functools
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from compsrt_plugin.analysis.tensors.stream import Moments
from compsrt_plugin.quant import BOUND_SEARCHES, Quantizer, QuantSpec, Samples
from compsrt_plugin.quant.bounds.rows import search_rows
from compsrt_plugin.quant.bounds.samples import Distribution
from compsrt_plugin.quant.fake import largest_magnitude
from compsrt_plugin.quant.quantizer import Mode

BITS = (2, 3, 4)
ABSOLUTE = (1e-3, 1e-2, 1e-1)
"""ε of "near zero", in the unit of the tensor."""

RELATIVE = (1e-2, 1e-1, 5e-1)
"""ε of "near zero", in units of the root mean square before any transform (the same ε on both sides)."""

OUTLIER = 4.0  # standard deviations from the mean; 0.0063 % of a normal distribution are beyond
SUBSAMPLES, SUBSAMPLE = 4, 500
"""Number and size of the subsamples for normality tests. With millions of values every test rejects every tensor."""

_LEVEL = 0.05
TESTS = ("shapiro_wilk", "dagostino", "anderson_darling", "jarque_bera")


@dataclass(frozen=True)
class Normality:
    """One test of normality on subsamples of equal size.

    Attributes:
        statistic: mean over subsamples. More normal values give a larger W and smaller K², A² and JB.
        rejected: share of subsamples for which normality is rejected at 5 %.
    """

    statistic: float
    rejected: float


@dataclass(frozen=True)
class Statistics:
    """The statistics of one tensor in one domain.

    Attributes:
        minimum, maximum, span: of all values.
        std: standard deviation of all values.
        kurtosis: excess kurtosis of all values.
        peak: largest distance of a value from the mean, in standard deviations.
        outliers: share of the sample farther than 4 standard deviations from the mean.
        near_zero: ε -> share of the sample with |x| ≤ ε.
        near_zero_relative: ε -> the same in units of the root mean square before any transform.
        normality: name of the test -> its result.
        error: bits -> ‖x − x̂‖² / ‖x‖² of the sample with one scale, in the original domain.
        error_fine: the same with one scale per row of a weight or per token of an activation. Empty if an integer
            product allows only one scale.
    """

    minimum: float
    maximum: float
    span: float
    std: float
    kurtosis: float
    peak: float
    outliers: float
    near_zero: Mapping[str, float]
    near_zero_relative: Mapping[str, float]
    normality: Mapping[str, Normality]
    error: Mapping[str, float]
    error_fine: Mapping[str, float]


def statistics_of(name: str, sample: Tensor, moments: Moments, transform: str, fine: str | None) -> Statistics:
    """Return the statistics of one tensor in the domain of one transform.

    Args:
        name: name of its place, which seeds the subsamples.
        sample: vectors (n, d) in the original domain; all rows of a weight.
        moments: moments of all values in the domain of the transform.
        transform: name of the transform.
        fine: `per_channel`, `per_token`, or None if only one scale is possible.
    """
    quantizer = Quantizer(QuantSpec(transform=transform, granularity="per_tensor", scalar_decomposition=False))
    values = quantizer.transform(sample)
    unit = float(sample.square().mean().sqrt())
    flat, magnitudes = values.flatten(), values.abs().flatten()
    far = (flat - moments.mean).abs() > OUTLIER * moments.std
    return Statistics(
        minimum=moments.minimum,
        maximum=moments.maximum,
        span=moments.span,
        std=moments.std,
        kurtosis=moments.kurtosis,
        peak=max(moments.maximum - moments.mean, moments.mean - moments.minimum) / (moments.std or 1.0),
        outliers=_share(far),
        near_zero={f"{bound:g}": _share(magnitudes <= bound) for bound in ABSOLUTE},
        near_zero_relative={f"{bound:g}": _share(magnitudes <= bound * unit) for bound in RELATIVE},
        normality=normality(flat, zlib.crc32(name.encode())),
        error=quantization_errors(sample, transform, "per_tensor"),
        error_fine=quantization_errors(sample, transform, fine) if fine else {},
    )


def quantization_errors(sample: Tensor, transform: str, granularity: str) -> dict[str, float]:
    """Return bits -> relative squared error of quantizing vectors (n, d) in the domain of a transform.

    The quantizer is the package's own. Bounds come from 2DQuant's two-sided search (arXiv 2406.06649) for each code
    width. The error ‖x − x̂‖² / ‖x‖² is computed after the inverse transform; it is 0 if x is all zeros.

    Args:
        sample: the vectors; for `per_channel`, all rows of a weight.
        transform: name of the transform.
        granularity: `per_tensor`, `per_channel` or `per_token`.
    """
    spec = QuantSpec(transform=transform, granularity=granularity, scalar_decomposition=False)
    quantizer = Quantizer(spec, rows=len(sample))
    values = quantizer.transform(sample)
    samples = _Searched()
    if granularity != "per_channel":
        samples.add(values / largest_magnitude(values) if granularity == "per_token" else values)
    size = float(sample.double().square().sum())
    found = {}
    for bits in BITS:
        quantizer.spec = replace(spec, bits=bits)
        if granularity == "per_channel":
            lower, upper = search_rows(values, spec.search, bits)
        else:
            found_bounds = BOUND_SEARCHES[spec.search](samples, bits)
            lower, upper = torch.tensor(found_bounds, dtype=torch.float32, device=values.device)
        quantizer.set_bounds(lower, upper)
        quantizer.mode = Mode.ON
        with torch.no_grad():
            error = float((quantizer(sample) - sample).double().square().sum())
        found[str(bits)] = error / size if size else 0.0
    return found


class _Searched(Samples):
    """Samples for several searches, whose distribution is computed once."""

    @functools.cached_property
    def _distribution(self) -> Distribution:
        return super().distribution()

    def distribution(self) -> Distribution:
        """Return the distribution of the samples. Nothing may be added afterwards."""
        return self._distribution


def normality(values: Tensor, seed: int) -> dict[str, Normality]:
    """Return the results of four normality tests on `SUBSAMPLES` subsamples of `SUBSAMPLE` values.

    Args:
        values: (n,). If there are fewer than a subsample, all are used.
        seed: seed of the draws. Domains of equal width draw the same positions.

    Returns:
        Test -> result. Empty if all values are equal.
    """
    rng = np.random.default_rng(seed)
    size = min(SUBSAMPLE, values.numel())
    drawn = np.stack([values.numpy()[rng.choice(values.numel(), size, replace=False)] for _ in range(SUBSAMPLES)])
    drawn = drawn.astype(np.float64)
    drawn = drawn[np.ptp(drawn, axis=1) > 0]
    if not len(drawn):
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about nearly constant values, and scipy's plans for the p of `anderson`
        shapiro = [stats.shapiro(row) for row in drawn]
        anderson = [_anderson(row) for row in drawn]
        outcomes: dict[str, tuple[Any, Any]] = {
            "shapiro_wilk": ([one.statistic for one in shapiro], [one.pvalue < _LEVEL for one in shapiro]),
            "dagostino": _with_p(stats.normaltest(drawn, axis=1)),
            "anderson_darling": (anderson, [_rejects(statistic, size) for statistic in anderson]),
            "jarque_bera": _with_p(stats.jarque_bera(drawn, axis=1)),
        }
    return {
        test: Normality(float(np.mean(statistic)), float(np.mean(rejected)))
        for test, (statistic, rejected) in outcomes.items()
    }


def _with_p(tested: Any) -> tuple[np.ndarray, np.ndarray]:
    return tested.statistic, tested.pvalue < _LEVEL


def _anderson(values: np.ndarray) -> float:
    tested: Any = stats.anderson(values)  # scipy's type is generated
    return float(tested.statistic)


def _rejects(statistic: float, size: int) -> bool:
    """Return whether Anderson–Darling A² rejects normality at 5 % (Stephens 1974, mean and variance estimated)."""
    return statistic * (1 + 0.75 / size + 2.25 / size**2) > 0.752


def _share(condition: Tensor) -> float:
    return float(condition.double().mean())
