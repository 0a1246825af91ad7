"""Convert a comparison to plain values, for `compare.json` and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compsrt_plugin.compare.differences import Difference
from compsrt_plugin.compare.gather import Gathering
from compsrt_plugin.compare.judging import Contestant
from compsrt_plugin.compare.published import PUBLISHED_TEACHER, SETS, Published
from compsrt_plugin.compare.settings import Settings
from compsrt_plugin.report import FLOAT_BITS
from compsrt_plugin.report.results_table import metrics_fact, weights_fact


def comparison_to_dict(
    gathered: Gathering, comparisons: Sequence[Difference], published: Sequence[Published] | None
) -> dict[str, Any]:
    """Return everything except the images.

    Args:
        gathered: the contestants, images and settings.
        comparisons: the statistics.
        published: published results to add, or None.
    """
    settings = gathered.settings
    found: dict[str, Any] = {
        "scale": settings.scale,
        "padding": settings.padding,
        "metrics": {name: dict(metric) for name, metric in settings.metrics.items()},
        "conditions": conditions(settings),
        "baseline": gathered.entries[0].name,
        "entries": [_entry(entry, gathered) for entry in gathered.entries],
        "pictures": [
            {
                "data_set": data_set,
                "name": image,
                "scores": [
                    entry.results.datasets[data_set].per_image[image].quantized.to_dict() for entry in gathered.entries
                ],
            }
            for data_set, image in gathered.keys
        ],
        "comparisons": [comparison.to_dict() for comparison in comparisons],
    }
    if published is not None:
        found["published"] = {
            "teacher": PUBLISHED_TEACHER,
            "sets": list(SETS),
            "rows": [row.to_dict() for row in published],
        }
    return found


def conditions(settings: Settings) -> str:
    """Return the conditions of the figures in one sentence."""
    return f"x{settings.scale}, {settings.padding} padding, {metrics_fact(settings.metrics)}"


def _entry(entry: Contestant, gathered: Gathering) -> dict[str, Any]:
    results = entry.results
    float_network = results.bits == FLOAT_BITS
    codes = "limited to 2ⁿ" if results.codes == "strict" and not results.over_limit else "not limited"
    return {
        "name": entry.name,
        "kind": entry.source.kind,
        "bits": results.bits,
        "label": results.bit_label,
        "bytes": results.bytes,
        "sha256": results.files["checkpoint"].sha256 if "checkpoint" in results.files else None,
        "recipe": None if float_network else results.recipe,
        "codes": None if float_network else codes,
        "weights": None if float_network else weights_fact(results),
        "teacher": entry.teacher or None,
        "pictures": len(entry.images),
        "means": {name: scores.mean.quantized.to_dict() for name, scores in results.datasets.items()},
    }
