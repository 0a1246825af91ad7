"""Compute the differences to the baseline with intervals and tests, over images and over data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compsrt_plugin.analysis.paired import Paired, format_p, holm, paired, smallest_p
from compsrt_plugin.compare.judging import Contestant, ImageKey
from compsrt_plugin.report import Score

ComparedMetric = Literal["psnr", "ssim"]
COMPARED_METRICS: tuple[ComparedMetric, ...] = ("psnr", "ssim")
_FEWEST = 2  # pairs; a single difference has no spread
_LEVEL = 0.05  # if the smallest possible p is above this, nothing can be shown
WEAK = 0.01  # between this and _LEVEL, only agreement of (nearly) all pairs can be shown


@dataclass(frozen=True)
class Difference:
    """The difference of one contestant to the baseline in one metric.

    Attributes:
        entry: name of the contestant.
        baseline: name of the baseline.
        metric: `psnr` in dB, or `ssim`.
        over: description of the pairs.
        pairs: number of pairs.
        paired: statistics of contestant minus baseline; None if there are too few pairs.
        adjusted_p: p of the Wilcoxon test, with Holm's correction for all contestants.
        warning: why the evidence is weak, or empty.
    """

    entry: str
    baseline: str
    metric: ComparedMetric
    over: str
    pairs: int
    paired: Paired | None
    adjusted_p: float | None
    warning: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        found: dict[str, Any] = {
            "entry": self.entry, "baseline": self.baseline, "metric": self.metric, "over": self.over,
            "pairs": self.pairs, "warning": self.warning,
        }  # fmt: skip
        if self.paired is not None:
            found |= {
                "mean": self.paired.mean,
                "interval": list(self.paired.interval),
                "d_z": self.paired.d_z,
                "p": self.paired.wilcoxon_p,
                "adjusted_p": self.adjusted_p,
                "smallest_p": self.paired.smallest_p,
                "better": self.paired.positive,
                "worse": self.paired.negative,
            }
        return found


def compare_to_baseline(entries: Sequence[Contestant], keys: Sequence[ImageKey]) -> list[Difference]:
    """Return the differences of every contestant to the first.

    The pairs are the images of each data set, all images together if there are several data sets, and the means over
    data sets. Both tests are one-sided: the contestant is better than the baseline.

    Args:
        entries: two or more contestants, scored on the same images.
        keys: the images.

    Returns:
        Differences sorted by metric, then by kind of pairs, then by contestant.
    """
    groups = _groups(entries, keys)
    found: list[Difference] = []
    for metric in COMPARED_METRICS:
        for over, scores in groups.items():
            columns = [[getattr(score, metric) for score in column] for column in scores]
            if all(value is not None for column in columns for value in column):
                found += _family([entry.name for entry in entries], columns, metric, over)
    return found


def _groups(entries: Sequence[Contestant], keys: Sequence[ImageKey]) -> dict[str, list[list[Score]]]:
    """Return description of the pairs -> scores of each contestant."""
    sets = list(dict.fromkeys(data_set for data_set, _ in keys))

    def of(wanted: Sequence[str]) -> list[list[Score]]:
        return [
            [entry.results.datasets[name].per_image[image].quantized for name, image in keys if name in wanted]
            for entry in entries
        ]

    groups = {f"images of {name}": of([name]) for name in sets}
    if len(sets) > 1:
        groups["all images"] = of(sets)
    groups["data sets"] = [[entry.results.datasets[name].mean.quantized for name in sets] for entry in entries]
    return groups


def _family(
    names: Sequence[str], columns: Sequence[Sequence[float]], metric: ComparedMetric, over: str
) -> list[Difference]:
    """Return the differences of the columns to the first, with Holm's correction over them."""
    size = len(columns) - 1
    statistics = [_paired(columns[0], column) for column in columns[1:]]
    tested = [one for one in statistics if isinstance(one, Paired)]
    adjusted = iter(holm([one.wilcoxon_p for one in tested]))
    found = []
    for name, one in zip(names[1:], statistics):
        warning = one if isinstance(one, str) else _warning(one, size, over)
        tests = one if isinstance(one, Paired) else None
        p = None if tests is None else next(adjusted)
        found.append(Difference(name, names[0], metric, over, len(columns[0]), tests, p, warning))
    return found


def _paired(baseline: Sequence[float], values: Sequence[float]) -> Paired | str:
    """Return the statistics, or why there are none."""
    # Two perfect images have the difference 0, although inf - inf is NaN.
    differences = [0.0 if a == b else b - a for a, b in zip(baseline, values)]
    if len(differences) < _FEWEST:
        return f"{len(differences)} pair: no interval and no test"
    if not all(map(math.isfinite, differences)):
        return "an image equals its original in one of the two only: the difference is infinite"
    return paired(differences)


def _warning(found: Paired, family: int, over: str) -> str:
    untied = found.positive + found.negative
    if not untied:
        return "no pair differs"
    least = smallest_p(untied, family)
    if least <= WEAK:
        return ""
    which = f"{untied} pair{'s' * (untied > 1)} that differ{'s' * (untied == 1)}"
    corrected = f" ({family} tests, Holm)" if family > 1 else ""
    verdict = "too few to say anything" if least > _LEVEL else "only a difference in (nearly) all pairs can be found"
    return f"{which}: p cannot be below {format_p(least)}{corrected}; {verdict}"
