"""Markdown tables of judged networks: PSNR and SSIM, recipes, significance, published figures, sizes, sources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compsrt_plugin.analysis.paired import Paired, holm, paired
from compsrt_plugin.compare.published import published_for
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.report import Results, Score

BENCHMARKS = ("Set5", "Set14", "B100")  # the demo images are shown, and count in no mean and no test
CLAIMS = [
    *(
        ("plus", other)
        for other in ("compsrt", "compsrt-paper", "2dquant", "condiquant", "dobi", "percentile", "minmax")
    ),
    ("compsrt", "2dquant"),
    ("compsrt", "compsrt-paper"),
    ("2dquant", "dobi"),
]
"""Pairs of recipes: the claim is that the first is better, image by image."""

PRINTED = {"dat_light_x2": "38.24", "dat_light_x3": "34.76", "dat_light_x4": "32.57"}
"""PSNR on Set5 that the authors print for the weights."""

KINDS = {".input": "inputs", ".map": "maps"}
"""What names of quantizers end with, and what these are: activations that option files widen as a whole."""

Table = list[str]


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> Table:
    """Return a Markdown table whose first `left` columns are text and the others numbers."""
    align = ["---"] * left + ["---:"] * (len(heading) - left)
    return ["| " + " | ".join(cells) + " |" for cells in (heading, align, *rows)]


def difference(results: Results, dataset: str) -> Score:
    """Return a data set's mean PSNR (dB) and SSIM of the quantized network minus its teacher's."""
    mean = results.datasets[dataset].mean
    teacher, quantized = mean.teacher, mean.quantized
    if teacher is None or teacher.ssim is None or quantized.ssim is None:
        raise CompSRTError(f"the result {results.name} has no teacher or no SSIM", hint="judge the file anew")
    return Score(quantized.psnr - teacher.psnr, quantized.ssim - teacher.ssim)


def mean_difference(results: Results) -> Score:
    """Return the mean of `difference` over the benchmarks that were judged."""
    found = [difference(results, name) for name in BENCHMARKS if name in results.datasets]
    return Score(sum(d.psnr for d in found) / len(found), sum(d.ssim or 0 for d in found) / len(found))


def signed(score: Score, decimals: int = 2) -> str:
    """Return a difference, `-0.16 / -0.0035`."""
    return f"{score.psnr:+.{decimals}f} / {score.ssim:+.4f}"


def absolute(score: Score | None) -> str:
    """Return a score, `31.47 / 0.8828`; nothing for None."""
    return "" if score is None else f"{score.psnr:.2f} / {score.ssim:.4f}"


def network_table(found: Sequence[Results], latency: Mapping[str, Mapping[str, Any]] | None = None) -> Table:
    """Return the widths of one network at one scale, below bicubic and full precision.

    Args:
        found: results of one teacher.
        latency: name -> what `latency.py` measured, in milliseconds; without any, the table has no times.
    """
    sets = [name for name in found[0].datasets if all(name in results.datasets for results in found)]
    means = {name: found[0].datasets[name].mean for name in sets}
    ordered = sorted(found, key=lambda r: r.bits)
    rows = [
        ["bicubic", *(absolute(means[name].bicubic) for name in sets), "", "", "", ""],
        ["full precision", *(absolute(means[name].teacher) for name in sets), "", f"{found[0].float_bytes:,}", "", ""],
    ]
    for results in ordered:
        scores = [absolute(results.datasets[name].mean.quantized) for name in sets]
        ratio, codes = f"{results.float_bytes / results.bytes:.1f}", codes_cell(results)
        label = f"`{results.name}`"
        rows.append([label, *scores, signed(mean_difference(results)), f"{results.bytes:,}", ratio, codes])
    heading = ["network", *sets, "difference", "bytes", "times smaller", "codes"]
    if latency:
        spent = [list(latency[results.name]["processor_ms"].values()) for results in ordered]
        eager = sum(times[0] for times in spent) / len(spent)  # the same network, measured beside each width
        heading.append("ms")
        for row, cell in zip(rows, ["", f"{eager:.0f}", *(f"{times[-1]:.0f}" for times in spent)]):
            row.append(cell)
    return table(heading, rows)


def codes_cell(results: Results) -> str:
    """Return the most codes that a quantizer of the nominal width used, and which activations have more bits."""
    wide = {end: bits for end in KINDS if (bits := least_bits(results, end)) > results.bits}
    more = [f"{bits}-bit {KINDS[end]}" for end, bits in wide.items()]
    raised = sum(
        not name.endswith(".weight") and bits > next((wide[end] for end in wide if name.endswith(end)), 0)
        for name, bits in results.other_bits.items()
    )
    more += [f"{raised} wider"] if raised else []
    return str(results.max_distinct_codes) + (f" ({', '.join(more)})" if more else "")


def least_bits(results: Results, end: str) -> int:
    """Return the fewest bits of the quantizers whose names end so; 0 without any."""
    names = [name for name in results.distinct_codes if name.endswith(end)]
    return min((results.other_bits.get(name, results.bits) for name in names), default=0)


def recipe_table(found: Sequence[Results], *, widths: bool = False) -> Table:
    """Return recipes of one network, the best first; PSNR and SSIM minus the teacher's.

    Args:
        found: results of one width, or of several.
        widths: whether a column says the width; the widest comes first then.
    """
    rows = []
    for results in sorted(found, key=lambda r: (-r.bits if widths else 0, -mean_difference(r).psnr)):
        took = results.extra["calibration"]
        seconds, iterations = took["cpu_seconds"], took["iterations"]
        rows.append(
            [
                *([str(results.bits)] if widths else []),
                f"`{variant(results) if widths else results.recipe}`",
                "trained" if results.weights_trained else "kept",
                *(signed(difference(results, name), 3) if name in results.datasets else "" for name in BENCHMARKS),
                f"{mean_difference(results).psnr:+.3f}",
                codes_cell(results),
                f"{results.bytes:,}",
                "" if seconds is None else f"{seconds:.0f}",
                "" if iterations is None else f"{iterations:,}",
            ]
        )
    heading = ["recipe", "weights", *BENCHMARKS, "mean, dB", "codes", "bytes", "CPU s", "iterations"]
    return table(["bits", *heading] if widths else heading, rows, left=3 if widths else 2)


def variant(results: Results) -> str:
    """Return what follows the network in a result's name: the recipe and what differs from it, or `bundled`."""
    name = results.name.removesuffix(f"_{results.bits}bit")
    return name[name.index(f"_{results.recipe}") + 1 :] if f"_{results.recipe}" in name else "bundled"


WIDE_INPUTS, TRAINED = ", 8-bit inputs", ", trained"
COLUMNS = (*(f"`plus`{wide}{how}" for wide in (WIDE_INPUTS, "") for how in (TRAINED, "")), "`compsrt`", "`minmax`")
"""Of the summary."""


def _column(results: Results) -> str | None:
    """Return the column of the summary that a result belongs to; None for variants that have none."""
    kind = variant(results).removesuffix("_trained")
    if kind not in (results.recipe, f"{results.recipe}_i8", "bundled"):
        return None
    wide = WIDE_INPUTS if least_bits(results, ".input") == 8 else ""
    return f"`{results.recipe}`{wide}{TRAINED if results.weights_trained else ''}"


def summary_table(networks: Mapping[str, Sequence[Results]]) -> Table:
    """Return the mean difference of each recipe, network and width; of equal ones, that of the best file."""
    rows = []
    for name, of_network in sorted(networks.items()):
        for bits in sorted({results.bits for results in of_network}, reverse=True):
            found: dict[str | None, float] = {}
            for results in of_network:
                if results.bits == bits:
                    column = _column(results)
                    found[column] = max(found.get(column, -math.inf), mean_difference(results).psnr)
            full = absolute(of_network[0].datasets["Set5"].mean.teacher)
            cells = [f"{found[column]:+.2f}" if column in found else "" for column in COLUMNS]
            rows.append([name, str(bits), full, PRINTED.get(name, ""), *cells])
    return table(["network", "bits", "full precision", "in print", *COLUMNS], rows)


def image_differences(better: Results, worse: Results, metric: str) -> list[float]:
    """Return one recipe's PSNR or SSIM minus the other's, for each image of the benchmarks.

    Raises:
        CompSRTError: the two were judged on different images.
    """
    values = []
    for name in BENCHMARKS:
        ours, theirs = better.datasets[name].per_image, worse.datasets[name].per_image
        if ours.keys() != theirs.keys():
            raise CompSRTError(f"{better.name} and {worse.name} were judged on different images of {name}")
        values += [getattr(ours[image].quantized, metric) - getattr(theirs[image].quantized, metric) for image in ours]
    return values


def significance_table(by_recipe: dict[int, dict[str, Results]]) -> Table:
    """Return the paired tests of `CLAIMS` over images, for PSNR and SSIM.

    Args:
        by_recipe: bits -> recipe -> result, all of one scale and one budget of calibration.
    """
    asked = [
        (bits, better, worse)
        for bits, found in sorted(by_recipe.items())
        for better, worse in CLAIMS
        if better in found and worse in found
    ]
    tests: dict[str, list[Paired]] = {
        metric: [paired(image_differences(by_recipe[bits][a], by_recipe[bits][b], metric)) for bits, a, b in asked]
        for metric in ("psnr", "ssim")
    }
    corrected = holm([test.wilcoxon_p for metric in tests for test in tests[metric]])
    p_values = {"psnr": corrected[: len(asked)], "ssim": corrected[len(asked) :]}
    rows = []
    for index, (bits, better, worse) in enumerate(asked):
        cells = [f"{bits}", f"`{better}` > `{worse}`", str(tests["psnr"][index].pairs)]
        for metric, decimals in (("psnr", 3), ("ssim", 4)):
            test = tests[metric][index]
            low, high = test.interval
            cells += [
                f"{test.mean:+.{decimals}f} [{low:+.{decimals}f}, {high:+.{decimals}f}]",
                "" if test.d_z is None else f"{test.d_z:.2f}",
                p_text(p_values[metric][index]),
            ]
        rows.append(cells)
    return table(["bits", "claim", "images", "PSNR, dB", "d_z", "p", "SSIM", "d_z", "p"], rows, left=2)


def p_text(p: float) -> str:
    """Return a p value with its significant digits.

    >>> p_text(0.21), p_text(0.0004), p_text(3e-19)
    ('0.21', '4e-04', '< 1e-10')
    """
    if p < 1e-10:
        return "< 1e-10"
    return f"{p:.2f}" if p >= 0.01 else f"{p:.0e}"


def published_table(ours: Sequence[Results], scale: int) -> Table:
    """Return published figures of SwinIR-light at one scale and ours, each with the difference to its own teacher."""
    rows = published_for(scale, {4, 3, 2})
    (full,) = (row.scores for row in rows if row.method == "SwinIR-light")
    lines = [["32", "SwinIR-light, official", "published", *(absolute(full[name]) for name in BENCHMARKS)]]
    judged = ours[0].datasets  # a scale may have been judged on some of the sets
    means = [absolute(judged[name].mean.teacher) if name in judged else "" for name in BENCHMARKS]
    lines.append(["32", "SwinIR-light, bundled", "here", *means])
    for bits in (4, 3, 2):
        for row in rows:
            if row.bits == bits:
                cells = [both(row.scores[name], minus(row.scores[name], full[name])) for name in BENCHMARKS]
                lines.append([f"{bits}", row.method + " †" * bool(row.footnote), "published", *cells])
        for results in sorted((r for r in ours if r.bits == bits), key=lambda r: mean_difference(r).psnr):
            cells = [
                both(results.datasets[name].mean.quantized, difference(results, name))
                if name in results.datasets
                else ""
                for name in BENCHMARKS
            ]
            lines.append([f"{bits}", f"`{results.recipe}`{budget(results)}", "here", *cells])
    notes = [f"† {row.method}, {row.bits} bits: {row.footnote}" for row in rows if row.footnote]
    return [*table(["bits", "method", "whose", *BENCHMARKS], lines, left=3), *([""] if notes else []), *notes]


def budget(results: Results) -> str:
    """Return how long a network was calibrated, if its result says so."""
    took = results.extra["calibration"]
    if took["cpu_seconds"] is not None:
        return f", {took['cpu_seconds']:.0f} CPU s"
    return "" if took["iterations"] is None else f", {took['iterations']:,} iterations"


def minus(a: Score, b: Score) -> Score:
    """Return the difference of two scores."""
    return Score(a.psnr - b.psnr, (a.ssim or 0) - (b.ssim or 0))


def both(score: Score, less: Score) -> str:
    """Return a score and its difference to full precision."""
    return f"{absolute(score)} ({signed(less)})"


def worst_table(found: Sequence[Results], count: int = 3) -> Table:
    """Return the benchmark images on which each network loses most PSNR against full precision."""
    rows = []
    for results in found:
        losses = [
            (scores.quantized.psnr - scores.teacher.psnr, f"{name}, {file}", scores)
            for name in BENCHMARKS
            for file, scores in results.datasets[name].per_image.items()
            if scores.teacher is not None
        ]
        for loss, image, scores in sorted(losses, key=lambda found: found[0])[:count]:
            cells = [image, absolute(scores.teacher), absolute(scores.quantized), f"{loss:+.2f}"]
            rows.append([f"{results.bits} bits", *cells])
    return table(["x4", "image", "full precision", "quantized", "loss, dB"], rows, left=2)


def size_differences(one: Mapping[str, Any], how: str) -> list[float]:
    """Return PSNR in dB of a quantized network minus full precision's, for each large image.

    Args:
        one: what `image_sizes.py` wrote of a network.
        how: the images seen `whole`, or in `pieces`.
    """
    return [image[how]["quantized"] - image[how]["teacher"] for image in one["psnr"]]


def size_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """Return the loss of each network on large images and on their pieces.

    Args:
        found: what `image_sizes.py` wrote.
    """
    rows = []
    for one in found:
        cells = (", ".join(f"{loss:+.3f}" for loss in size_differences(one, how)) for how in ("whole", "pieces"))
        rows.append([f"`{one['name']}`", *cells, one["date"], one["sha256"][:12]])
    return table(["network", "whole, dB", "in pieces, dB", "date", "file"], rows)


def source_table(found: Sequence[Results]) -> Table:
    """Return the source of every figure: file, day, runner, hashes, versions, command."""
    rows = []
    for results in found:
        versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
        checkpoint, teacher = results.files["checkpoint"], results.files["teacher"]
        rows.append(
            [
                f"`{results.name}`",
                results.extra["date"],
                results.extra["runner"],
                f"`{checkpoint.sha256[:12]}`",
                f"`{teacher.sha256[:12]}`",
                versions,
                f"`{results.extra['command']}`",
            ]
        )
    return table(["result", "date", "run by", "file", "teacher", "versions", "command"], rows, left=7)
