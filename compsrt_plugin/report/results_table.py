"""Write the results as a table: text for the terminal and Markdown, from the same cells."""

from __future__ import annotations

import math
import os
import textwrap
from collections import Counter
from collections.abc import Mapping
from typing import Any

from compsrt_plugin.files import write_whole
from compsrt_plugin.report.columns import align, markdown
from compsrt_plugin.report.results import ImageScores, Results, Score, count_of

TERMINAL_WIDTH = 100
"""Largest width of a line of the text table, in characters."""

_HEADINGS = ("data set", "images", "bicubic", "teacher", "quantized", "difference")
_FULL_PRECISION = ("data set", "images", "bicubic", "full precision")  # without a teacher
_ENGINE = "engine"  # one more column if the engine was run


def results_text(results: Results) -> str:
    """Return the results as aligned columns, at most `TERMINAL_WIDTH` wide, without a final newline.

    The table has one row per data set: PSNR in dB / SSIM of bicubic, teacher and quantized, then quantized minus
    teacher. For a network without quantizers, it has bicubic and the network. With `--engine`, one more column has the
    scores of the integer engine. The lines below state the conditions: code width, codes, size, recipe, padding,
    metrics. Long data set names are cut; the Markdown has them in full.
    """
    rows = [_headings(results), *_rows(results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    widths[0] = min(widths[0], TERMINAL_WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1))
    lines = align([(_cut(name, widths[0]), *numbers) for name, *numbers in rows])
    rule = "-" * len(lines[0])
    facts = _facts(results)
    indent = max(len(key) for key, _ in facts) + 2
    footer = [_wrap(f"{key:<{indent}}{fact}", indent) for key, fact in facts]
    return "\n".join([_wrap(_title(results), 2), "", lines[0], rule, *lines[1:], rule, *footer])


def markdown_table(results: Results) -> str:
    """Return the content of `results_text` as Markdown, with a final newline."""
    rows = markdown([_headings(results), *_rows(results)])
    facts = [f"- **{key}**: {fact}" for key, fact in _facts(results)]
    return "\n".join([f"## {_title(results)}", "", *rows, "", *facts, ""])


def write_markdown(results: Results, path: str | os.PathLike[str]) -> None:
    """Write `markdown_table(results)` to a file. CompSRTError if it cannot be written."""
    write_whole(path, markdown_table(results).encode())


def format_bytes(count: int) -> str:
    """Return a size on disk for a caption, in units of 1000 bytes.

    >>> format_bytes(612345), format_bytes(3718512), format_bytes(900)
    ('612 kB', '3.72 MB', '900 B')
    """
    if count < 1000:
        return f"{count} B"
    # 999,500 and more would round to "1000 kB".
    return f"{count / 1000:.0f} kB" if count < 999_500 else f"{count / 1_000_000:.2f} MB"


def format_psnr(psnr: float) -> str:
    """Return a PSNR in dB with two decimals.

    >>> format_psnr(31.904), format_psnr(math.inf)
    ('31.90', 'inf')
    """
    return f"{psnr:.2f}"


def _title(results: Results) -> str:
    return f"{results.name}: x{results.scale}, {results.bit_label}"


def _headings(results: Results) -> tuple[str, ...]:
    if results.full_precision:
        return _FULL_PRECISION
    by_engine = any(scores.mean.engine is not None for scores in results.datasets.values())
    return (*_HEADINGS, _ENGINE) if by_engine else _HEADINGS


def _rows(results: Results) -> list[tuple[str, ...]]:
    if not results.datasets:
        return [("(no data set was tested)", *[""] * (len(_headings(results)) - 1))]
    return [
        (name, str(len(scores.per_image)), *_cells(scores.mean, results.full_precision))
        for name, scores in results.datasets.items()
    ]


def _cells(mean: ImageScores, full_precision: bool) -> list[str]:
    if full_precision:
        return [_score_cell(mean.bicubic), _score_cell(mean.quantized)]
    scores = (mean.bicubic, mean.teacher, mean.quantized)
    cells = [*map(_score_cell, scores), _difference_cell(mean.quantized, mean.teacher)]
    return cells if mean.engine is None else [*cells, _score_cell(mean.engine)]


def _score_cell(score: Score | None) -> str:
    if score is None:
        return "-"
    return format_psnr(score.psnr) + ("" if score.ssim is None else f" / {score.ssim:.4f}")


def _difference_cell(score: Score, reference: Score | None) -> str:
    if reference is None:
        return "-"
    # Two perfect images have the difference 0, although inf - inf is NaN.
    psnr = 0.0 if score.psnr == reference.psnr else score.psnr - reference.psnr
    cell = _signed(psnr, 2)
    if score.ssim is not None and reference.ssim is not None:
        cell += f" / {_signed(score.ssim - reference.ssim, 4)}"
    return cell


def _signed(value: float, decimals: int) -> str:
    # Adding 0.0 turns the -0.0 that rounding may leave into 0.0.
    return f"{round(value, decimals) + 0.0:+.{decimals}f}" if math.isfinite(value) else f"{value:+}"


def _facts(results: Results) -> list[tuple[str, str]]:
    shared = [("padding", results.padding), ("metrics", metrics_fact(results.metrics))]
    if results.full_precision:
        return [("bits", "full precision, no quantizers"), ("size", f"{results.bytes:,} bytes on disk"), *shared]
    return [
        ("bits", results.bit_label),
        ("codes", _codes_fact(results)),
        (
            "size",
            f"{results.bytes:,} bytes on disk, {results.bytes / results.float_bytes:.1%} of the float file "
            f"({results.float_bytes:,} bytes, {results.float_bytes / results.bytes:.2f}x)",
        ),
        ("recipe", f"{results.recipe}, {results.codes} codes, weights {weights_fact(results)}"),
        *shared,
    ]


def _codes_fact(results: Results) -> str:
    allowed = 2**results.bits
    most = results.max_distinct_codes
    if most is None:
        return f"{results.bits} bits hold {allowed}; not counted"
    nominal = len(results.distinct_codes.keys() - results.other_bits.keys())
    fact = f"at most {most} used, {results.bits} bits hold {allowed} (in {count_of(nominal, 'quantizer')})"
    if others := results.distinct_codes.keys() & results.other_bits.keys():
        widths = Counter(results.other_bits[name] for name in others)
        fact += "; besides, " + ", ".join(f"{n} of {bits} bits" for bits, n in sorted(widths.items()))
    if results.over_limit:
        fact += f"; more than their bits hold in {count_of(len(results.over_limit), 'quantizer')}"
    return fact


def weights_fact(results: Results) -> str:
    """Return what quantization did to the weights: `trained`, `frozen` or `changed (conditioned)`."""
    if "conditioning" in results.extra:
        return "changed (conditioned)"
    return "trained" if results.weights_trained else "frozen"


def metrics_fact(metrics: Mapping[str, Any]) -> str:
    """Return the conditions of the metrics as text. Conditions that several metrics share are stated once."""
    names: dict[str, list[str]] = {}
    for name, options in metrics.items():
        options = options if isinstance(options, dict) else {}
        channel = "the Y channel" if options.get("test_y_channel", False) else "RGB"
        border = f"{options.get('crop_border', 0)} px border left out"
        names.setdefault(f"on {channel}, {border}", []).append(_METRIC_NAMES.get(name, name))
    return "; ".join(f"{' / '.join(group)} {settings}" for settings, group in names.items()) or "not recorded"


_METRIC_NAMES = {"psnr": "PSNR (dB)", "ssim": "SSIM"}


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _wrap(line: str, indent: int) -> str:
    return textwrap.fill(line, TERMINAL_WIDTH, subsequent_indent=" " * indent)
