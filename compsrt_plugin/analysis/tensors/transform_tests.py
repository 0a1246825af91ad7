"""Test what a transform changes across all places of a network, by paired tests per kind of tensor.

Each measure is oriented so that a positive difference agrees with the CompSRT paper (arXiv 2601.21069). It does not
depend on the unit of the tensor, so a few large tensors do not dominate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from compsrt_plugin.analysis.paired import FEWEST, Paired, holm, one_sided, paired
from compsrt_plugin.analysis.tensors.places import BEFORE, PAPER, Place
from compsrt_plugin.analysis.tensors.tensor_statistics import ABSOLUTE, BITS, RELATIVE, TESTS, Statistics

SIGNIFICANCE = 0.05
_RESAMPLES = 1999  # per interval; there are hundreds of intervals
PLACE_KINDS = ("weights", "activations")

_TINY = 1e-12  # keeps ratios finite if nothing is lost or all values are equal


@dataclass(frozen=True)
class Measure:
    """A measure of a tensor, and its difference before and after a transform.

    Attributes:
        name: key in results.
        about: display name.
        unit: unit of the differences.
        value: maps the statistics of one domain to the measure, or None if the place has none.
        difference: maps the values before and after to the difference. Positive agrees with the paper.
    """

    name: str
    about: str
    unit: str
    value: Callable[[Statistics], float | None]
    difference: Callable[[float, float], float]


@dataclass(frozen=True)
class TransformTest:
    """The test of one measure across the places of one kind.

    Attributes:
        kind: `weights`, `activations` or a role (see `places.ROLES`).
        measure: name of the measure.
        before, after: medians of the measure over the places.
        evidence: statistics of the differences, tested for being positive, as in the paper.
        p: one-sided Wilcoxon p of `evidence` after Holm's correction over all tests of the transform.
        sign_p: the same for the exact sign test.
        p_against, sign_p_against: the same for the differences tested for being negative.
    """

    kind: str
    measure: str
    before: float
    after: float
    evidence: Paired
    p: float
    sign_p: float
    p_against: float
    sign_p_against: float


def _fall(before: float, after: float) -> float:
    """Return the fall of a squared or non-negative measure in decibels."""
    return 10 * math.log10(max(before, _TINY) / max(after, _TINY))


def _error(bits: int, fine: bool) -> Callable[[Statistics], float | None]:
    def value(one: Statistics) -> float | None:
        return (one.error_fine if fine else one.error).get(str(bits))

    return value


def _near(bound: float, relative: bool) -> Callable[[Statistics], float | None]:
    def value(one: Statistics) -> float | None:
        return (one.near_zero_relative if relative else one.near_zero)[f"{bound:g}"]

    return value


def _normality(test: str) -> Callable[[Statistics], float | None]:
    def value(one: Statistics) -> float | None:
        return one.normality[test].statistic if test in one.normality else None

    return value


def _measures() -> Iterable[Measure]:
    yield Measure("range", "range", "octaves", lambda one: one.span, lambda a, b: _fall(a, b) / (10 * math.log10(2)))
    for relative, bounds in ((True, RELATIVE), (False, ABSOLUTE)):
        for bound in bounds:
            about = f"share of |x| ≤ {bound:g}{' RMS' if relative else ''}"
            name = f"near_zero_{'relative_' if relative else ''}{bound:g}"
            yield Measure(name, about, "share", _near(bound, relative), lambda a, b: b - a)
    for fine in (False, True):
        for bits in BITS:
            about = f"error at {bits} bits, {'a scale per row or token' if fine else 'one scale'}"
            yield Measure(f"error_{'fine_' if fine else ''}{bits}", about, "dB", _error(bits, fine), _fall)
    yield Measure("kurtosis", "excess kurtosis", "1", lambda one: one.kurtosis, lambda a, b: a - b)
    yield Measure("outliers", "share beyond 4 σ", "share", lambda one: one.outliers, lambda a, b: a - b)
    # The paper finds that tensors do not become more normal, so here less normal is positive.
    labels = dict(zip(TESTS, ("Shapiro–Wilk W", "D'Agostino K²", "Anderson–Darling A²", "Jarque–Bera JB")))
    for test, label in labels.items():
        rises = test == "shapiro_wilk"
        yield Measure(f"normality_{test}", label, "1" if rises else "dB", _normality(test),
                      (lambda a, b: a - b) if rises else (lambda a, b: -_fall(a, b)))  # fmt: skip


MEASURES = {measure.name: measure for measure in _measures()}


def pairs_of(places: Iterable[Place], measure: Measure, transform: str) -> list[tuple[float, float]]:
    """Return (before, after) for every place that has both values."""
    found = []
    for place in places:
        if transform in place.domains:
            before, after = (measure.value(place.domains[domain]) for domain in (BEFORE, transform))
            if before is not None and after is not None:
                found.append((before, after))
    return found


def evaluate_transform(places: Sequence[Place], transform: str, seed: int = 0) -> list[TransformTest]:
    """Return the tests of all measures before and after a transform, for weights and activations.

    The paper's transform is also tested for each role of activations.

    Args:
        places: the places of one network.
        transform: name of the transform.
        seed: seed of the bootstrap intervals.

    Returns:
        The tests of kinds with two or more places. Holm's correction covers all of them.
    """
    found: list[tuple[str, str, float, float, Paired]] = []
    against: list[tuple[float, float]] = []
    roles = dict.fromkeys(place.role for place in places if place.kind == "activations" and transform == PAPER)
    for kind in [*PLACE_KINDS, *roles]:
        members = [place for place in places if kind in (place.kind, place.role)]
        for measure in MEASURES.values():
            pairs = pairs_of(members, measure, transform)
            if len(pairs) < FEWEST:
                continue
            differences = np.array([measure.difference(before, after) for before, after in pairs])
            before, after = (float(np.median(side)) for side in zip(*pairs))
            found.append((kind, measure.name, before, after, paired(differences, seed=seed, resamples=_RESAMPLES)))
            against.append(one_sided(-differences))
    in_favour = [(one[-1].wilcoxon_p, one[-1].sign_p) for one in found]
    adjusted = [holm([p[test] for p in side]) for side in (in_favour, against) for test in (0, 1)]
    return [TransformTest(*one, *corrected) for one, *corrected in zip(found, *adjusted)]
