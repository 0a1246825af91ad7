"""Write an analysis as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compsrt_plugin.analysis.paired import format_p
from compsrt_plugin.analysis.tensors.places import BEFORE, PAPER, ROLES, Place
from compsrt_plugin.analysis.tensors.stream import SAMPLE_VALUES
from compsrt_plugin.analysis.tensors.tensor_statistics import BITS, SUBSAMPLE, SUBSAMPLES
from compsrt_plugin.analysis.tensors.transform_tests import MEASURES, TransformTest, evaluate_transform
from compsrt_plugin.analysis.tensors.verdicts import Verdict, judge_findings
from compsrt_plugin.analysis.tensors.walk import Walk
from compsrt_plugin.files import write_whole
from compsrt_plugin.quant.transforms import TRANSFORMS
from compsrt_plugin.report.columns import markdown

_COMPARED = ("range", "near_zero_relative_0.1", "error_2", "error_3", "error_4", "error_fine_3", "kurtosis")


@dataclass(frozen=True)
class Analysis:
    """The result of `basicsr analyze`.

    Attributes:
        about: the conditions: `name`, `source`, `weights`, `sha256`, `scale`, `pictures`, `seed`, `versions`,
            `command`, and `notes`, a list of sentences.
        places: every quantized place.
        comparisons: transform -> its tests across places.
        walk: an image followed through the network, or None.
    """

    about: Mapping[str, Any]
    places: Sequence[Place]
    comparisons: Mapping[str, Sequence[TransformTest]]
    walk: Walk | None = None

    @property
    def verdicts(self) -> list[Verdict]:
        """Verdicts on the findings of the paper."""
        return judge_findings(self.comparisons.get(PAPER, ()))

    @classmethod
    def of(cls, about: Mapping[str, Any], places: Sequence[Place], walk: Walk | None, seed: int) -> Analysis:
        """Return an analysis with the tests of all transforms that some place has."""
        known = [name for name in TRANSFORMS if name != BEFORE and any(name in place.domains for place in places)]
        return cls(about, places, {name: evaluate_transform(places, name, seed) for name in known}, walk)


def write_analysis(analysis: Analysis, folder: Path) -> list[Path]:
    """Write `analysis.json`, `summary.json`, `places.csv` and `summary.md`, and return their paths.

    Raises:
        UnwritableError: the folder cannot be written.
    """
    summary = analysis_to_dict(analysis)
    complete = {**summary, "places": [asdict(place) for place in analysis.places]}
    contents = {
        "analysis.json": json.dumps(complete, indent=1, ensure_ascii=False, allow_nan=False),
        "summary.json": json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False),
        "places.csv": to_csv(analysis.places),
        "summary.md": to_markdown(analysis),
    }
    for name, content in contents.items():
        write_whole(folder / name, (content.rstrip("\n") + "\n").encode())
    return [folder / name for name in contents]


def analysis_to_dict(analysis: Analysis) -> dict[str, Any]:
    """Return everything except the places, as plain values for JSON."""
    roles = {role: sum(place.role == role for place in analysis.places) for role in ROLES}
    return {
        "about": dict(analysis.about),
        "counts": {role: count for role, count in roles.items() if count},
        "verdicts": [asdict(verdict) for verdict in analysis.verdicts],
        "comparisons": {name: [asdict(one) for one in found] for name, found in analysis.comparisons.items()},
        **({} if analysis.walk is None else {"walk": analysis.walk.to_dict()}),
    }


def to_csv(places: Sequence[Place]) -> str:
    """Return CSV with a line per place and transform."""
    rows = []
    for place in places:
        own = {key: getattr(place, key) for key in ("name", "role", "depth", "width", "values", "sampled")}
        rows += [{**own, "transform": name, **_flat(asdict(one))} for name, one in place.domains.items()]
    buffer = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value})
    return flat


def to_markdown(analysis: Analysis) -> str:
    """Return the summary as Markdown: sentences, then tables."""
    about = analysis.about
    lines = [f"# {about['name']}: what the Hadamard transform does to it", ""]
    lines += [f"- {verdict.sentence}" for verdict in analysis.verdicts]
    lines += ["", *_method(analysis), ""]
    for transform, comparisons in analysis.comparisons.items():
        lines += [f"## {BEFORE} and {transform}", "", *_table(comparisons), ""]
    lines += ["## Places with the largest error", "", *_worst(analysis.places), ""]
    if analysis.walk is not None:
        lines += ["## An image's way through the network", "", *analysis.walk.markdown(), ""]
    return "\n".join(lines)


def _method(analysis: Analysis) -> list[str]:
    about, places = analysis.about, analysis.places
    counts = ", ".join(f"{sum(place.role == role for place in places)} {ROLES[role]}" for role in
                       dict.fromkeys(place.role for place in places))  # fmt: skip
    seen = sum(place.values for place in places if place.kind == "activations")
    return [
        f"- Network: {about['source']}, x{about['scale']}. Places: {counts}.",
        f"- Activations: {about['pictures']}, {seen:,} values.",
        *(f"- {note}" for note in about["notes"]),
        "- Ranges, moments and kurtosis are of all values. Everything else of activations is of a uniform sample of "
        f"up to {SAMPLE_VALUES:,} values a place, in whole vectors.",
        f"- Normality is tested on {SUBSAMPLES} subsamples of {SUBSAMPLE} values of each place.",
        "- Errors are ‖x − x̂‖² / ‖x‖² after the inverse transform, with bounds by 2DQuant's search; one scale for a "
        "tensor unless said otherwise.",
        "- p are of one-sided Wilcoxon signed-rank tests over places, with Holm's correction over all tests of a "
        "transform. Places of one network are not an independent sample of networks: p says how regular an effect is "
        "within this one.",
    ]


def _table(tests: Sequence[TransformTest]) -> list[str]:
    rows = [("kind", "measure", "places", "before", "after", "in the paper's direction", "p", "d_z")]
    for one in tests:
        if one.measure in _COMPARED:
            evidence = one.evidence
            rows.append(
                (
                    ROLES.get(one.kind, one.kind),
                    MEASURES[one.measure].about,
                    str(evidence.pairs),
                    f"{one.before:.3g}",
                    f"{one.after:.3g}",
                    f"{evidence.positive} of {evidence.pairs}",
                    format_p(one.p),
                    "" if evidence.d_z is None else f"{evidence.d_z:.2f}",
                )
            )
    return markdown(rows, left=2)


def _worst(places: Sequence[Place], count: int = 10) -> list[str]:
    rows = [("place", *(f"{bits} bits, {when}" for when in ("before", "after") for bits in BITS))]
    worst = sorted((place for place in places if PAPER in place.domains), key=error_before, reverse=True)[:count]
    for place in worst:
        cells = (f"{place.domains[domain].error[str(bits)]:.2%}" for domain in (BEFORE, PAPER) for bits in BITS)
        rows.append((f"`{place.name}`", *cells))
    return markdown(rows)


def error_before(place: Place) -> float:
    """Return the error by which places are ranked: at 3 bits without a transform."""
    return place.domains[BEFORE].error["3"]
