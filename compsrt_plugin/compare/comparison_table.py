"""Write the comparison as text: means, differences, and warnings about weak evidence."""

from __future__ import annotations

from collections.abc import Sequence

from compsrt_plugin.analysis.paired import Paired, format_p
from compsrt_plugin.compare.differences import COMPARED_METRICS, ComparedMetric, Difference
from compsrt_plugin.compare.document import conditions
from compsrt_plugin.compare.gather import Gathering
from compsrt_plugin.report.columns import ruled
from compsrt_plugin.report.results_table import format_psnr

UNITS: dict[ComparedMetric, tuple[str, int]] = {"psnr": ("PSNR in dB", 3), "ssim": ("SSIM", 5)}


def comparison_text(gathered: Gathering, comparisons: Sequence[Difference]) -> str:
    """Return the tables as aligned columns, without a final newline.

    Args:
        gathered: the contestants, images and settings.
        comparisons: the statistics.
    """
    entries = gathered.entries
    means: list[tuple[str, ...]] = [("data set", "images", *(entry.name for entry in entries))]
    for name, scores in entries[0].results.datasets.items():
        columns = [entry.results.datasets[name].mean.quantized for entry in entries]
        cells = [format_psnr(s.psnr) + ("" if s.ssim is None else f" / {s.ssim:.4f}") for s in columns]
        means.append((name, str(len(scores.per_image)), *cells))
    parts = [f"{conditions(gathered.settings)}; baseline: {entries[0].name}", "", *ruled(means)]
    for metric in COMPARED_METRICS:
        if rows := [(one, one.paired) for one in comparisons if one.metric == metric and one.paired is not None]:
            parts += ["", *ruled(_rows(rows, metric))]
    warnings = {f"{c.over}: {c.warning}": None for c in comparisons if c.warning}
    return "\n".join([*parts, *(f"warning  {warning}" for warning in warnings)])


def _rows(comparisons: Sequence[tuple[Difference, Paired]], metric: ComparedMetric) -> list[tuple[str, ...]]:
    title, digits = UNITS[metric]
    several = len({comparison.entry for comparison, _ in comparisons}) > 1  # else Holm has nothing to correct
    rows: list[tuple[str, ...]] = [(title, "pairs", "mean", "95 % interval", "d_z", "p", "p, Holm")]
    for comparison, found in comparisons:
        low, high = found.interval
        rows.append(
            (
                f"{comparison.entry}, {comparison.over}",
                str(comparison.pairs),
                f"{found.mean:+.{digits}f}",
                f"{low:+.{digits}f} to {high:+.{digits}f}",
                "-" if found.d_z is None else f"{found.d_z:+.2f}",
                format_p(found.wilcoxon_p),
                "-" if comparison.adjusted_p is None else format_p(comparison.adjusted_p),
            )
        )
    return rows if several else [row[:-1] for row in rows]
