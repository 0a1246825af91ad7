"""Compute paired statistics: whether one treatment gives larger values than another, pair by pair.

The tests are those of the CompSRT paper (arXiv 2601.21069): the one-sided Wilcoxon signed-rank test, the exact sign
test, Cohen's d_z, and Holm's correction for a family of tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from compsrt_plugin.errors import CompSRTError

FEWEST = 2  # pairs; a single difference has no spread
CONFIDENCE = 0.95
RESAMPLES = 9999
_ENUMERATED = 13  # number of differences up to which scipy also enumerates all signs for tied ranks
_DRAWN = 1 << 20  # values drawn at a time, which bounds memory


@dataclass(frozen=True)
class Paired:
    """Statistics of paired differences, tested for being positive.

    Attributes:
        pairs: number of differences.
        positive: number of differences above zero.
        negative: number of differences below zero.
        mean: mean difference.
        median: median difference.
        interval: 95 % percentile bootstrap interval of the mean.
        d_z: Cohen's d_z, mean divided by sample standard deviation; None if all differences are equal.
        wilcoxon_p: p of the one-sided Wilcoxon signed-rank test without zero differences (`zero_method="wilcox"`).
        sign_p: p of the one-sided exact sign test without zero differences.
        smallest_p: the smallest p that either test can give for this number of nonzero differences.
    """

    pairs: int
    positive: int
    negative: int
    mean: float
    median: float
    interval: tuple[float, float]
    d_z: float | None
    wilcoxon_p: float
    sign_p: float
    smallest_p: float


def paired(differences: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> Paired:
    """Return statistics and tests of whether paired differences tend to be positive.

    Orient the differences so that a positive one supports the claim: for "B's error is smaller" pass A − B.

    Args:
        differences: (n,), one value per pair, n ≥ 2.
        seed: seed of the bootstrap.
        resamples: number of bootstrap resamples.

    Returns:
        The statistics. If all differences are zero, both p are 1.

    Raises:
        CompSRTError: there are fewer than two values, or values that are not finite.
    """
    values = _checked(differences)
    equal = bool(values.min() == values.max())
    tests = one_sided(values)
    return Paired(
        pairs=values.size,
        positive=int((values > 0).sum()),
        negative=int((values < 0).sum()),
        mean=float(values.mean()),
        median=float(np.median(values)),
        interval=_interval(values, seed, resamples),
        d_z=None if equal else float(values.mean() / values.std(ddof=1)),
        wilcoxon_p=tests[0],
        sign_p=tests[1],
        smallest_p=smallest_p(int(np.count_nonzero(values))),
    )


def one_sided(differences: ArrayLike) -> tuple[float, float]:
    """Return p of the one-sided Wilcoxon signed-rank test and of the one-sided exact sign test. See `paired`.

    Args:
        differences: (n,), one value per pair; positive values support the claim.
    """
    values = _checked(differences)
    values = values[values != 0]  # what `zero_method="wilcox"` drops
    if not values.size:
        return 1.0, 1.0
    sign = stats.binomtest(int((values > 0).sum()), values.size, alternative="greater")
    return _wilcoxon(values), float(sign.pvalue)


def _wilcoxon(values: np.ndarray) -> float:
    """Return p of the signed-rank test. `values` have no zeros."""
    ranks = stats.rankdata(np.abs(values))
    if values.size <= _ENUMERATED and np.unique(ranks).size < values.size:
        # Exact p with ties, over all signs of the ranks. scipy's loop takes seconds for it.
        signs = np.arange(1 << values.size)[:, None] >> np.arange(values.size) & 1
        return float((signs @ ranks >= ranks[values > 0].sum()).mean())
    tested: Any = stats.wilcoxon(values, zero_method="wilcox", alternative="greater")  # scipy's type is generated
    return float(tested.pvalue)


def _checked(differences: ArrayLike) -> np.ndarray:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size < FEWEST:
        raise CompSRTError(
            f"paired statistics need more than {values.size} difference{'s' * (values.size != 1)}",
            allowed=f"a one-dimensional array of {FEWEST} or more",
            hint="compare more pairs",
        )
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise CompSRTError(f"{bad} of {values.size} paired differences are not finite", allowed="finite numbers")
    return values


def smallest_p(pairs: int, family: int = 1) -> float:
    """Return the smallest p that either test can give: 2⁻ⁿ, if all signs agree.

    Args:
        pairs: n, the number of nonzero differences.
        family: number of tests in Holm's correction, which multiplies the smallest p of the family by this.

    >>> smallest_p(5), smallest_p(5, family=4)
    (0.03125, 0.125)
    """
    return min(1.0, family * 0.5**pairs)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values of a family of tests, adjusted by Holm's step-down method, in the given order.

    Comparing them with a level α keeps the probability of any false positive in the family at or below α (Holm 1979).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = p[order] * np.arange(p.size, 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return adjusted.tolist()


def _interval(values: np.ndarray, seed: int, resamples: int) -> tuple[float, float]:
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _DRAWN // values.size),
        confidence_level=CONFIDENCE,
        method="percentile",  # BCa is undefined if all values are equal
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def format_p(p: float) -> str:
    """Return a p value as text. Ties round up, as in the browser: the smallest p of four pairs, 0.0625, is 0.063.

    >>> format_p(0.0625), format_p(0.0321), format_p(3.4e-25), format_p(1.0)
    ('0.063', '0.032', '3e-25', '1')
    """
    if p < 1e-3:
        return f"{p:.0e}"
    exact = Decimal(p)
    rounded = exact.quantize(Decimal(1).scaleb(exact.adjusted() - 1), ROUND_HALF_UP)
    return f"{rounded.normalize():f}"
