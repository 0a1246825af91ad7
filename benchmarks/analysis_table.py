"""Write the tables that compare what `basicsr analyze` found on several networks.

    python benchmarks/analysis_table.py keep NAME SUMMARY.json …    # NAME as in the tables, e.g. "SwinIR-light x4"
    python benchmarks/analysis_table.py table                       # write the tables of docs/notes/analysis.md

`keep` copies what the tables need from a `summary.json` to `benchmarks/analysis_results`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compsrt_plugin.analysis.tensors.places import PAPER, ROLES
from compsrt_plugin.analysis.tensors.verdicts import FINDINGS
from compsrt_plugin.analysis.tensors.walk import Walk, WalkStep
from compsrt_plugin.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "analysis_results"
PAGE = ROOT / "docs" / "notes" / "analysis.md"
KINDS = ("weights", "activations")
MEASURES = (
    "range", "near_zero_relative_0.1", "error_2", "error_3", "error_4", "error_fine_3", "normality_shapiro_wilk",
)  # fmt: skip
MARKS = "<!-- {name} -->", "<!-- end of {name} -->"

Result = dict[str, Any]


def kept(name: str, summary: Result) -> Result:
    """Return the part of a summary that the tables need."""
    comparisons = {
        transform: [_short(one) for one in found if one["measure"] in MEASURES]
        for transform, found in summary["comparisons"].items()
    }
    about = {**summary["about"], "source": Path(summary["about"]["source"]).name}
    return {**summary, "name": name, "about": about, "comparisons": comparisons}


def _short(one: Result) -> Result:
    evidence = {key: one["evidence"][key] for key in ("pairs", "positive", "median", "d_z")}
    return {**{key: one[key] for key in ("kind", "measure", "before", "after", "p", "p_against")}, "evidence": evidence}


def find(result: Result, transform: str, kind: str, measure: str) -> Result | None:
    """Return one comparison, None where the network has no such places."""
    found = result["comparisons"].get(transform, ())
    return next((one for one in found if (one["kind"], one["measure"]) == (kind, measure)), None)


def verdict_table(results: Sequence[Result]) -> list[str]:
    """Return a line for each finding and kind, a column for each network."""
    lines = _heading(["the paper's finding", "of", *(result["name"] for result in results)])
    for finding in FINDINGS:
        for kind in KINDS:
            cells = [_verdict_cell(result, finding.name, finding.measures[0], kind) for result in results]
            lines.append(_row([finding.about, kind, *cells]))
    return lines


def _verdict_cell(result: Result, finding: str, measure: str, kind: str) -> str:
    outcome = next((v["outcome"] for v in result["verdicts"] if (v["finding"], v["kind"]) == (finding, kind)), "")
    one = find(result, PAPER, kind, measure)
    if one is None:
        return outcome
    median, share = one["evidence"]["median"], f"{one['evidence']['positive']} of {one['evidence']['pairs']}"
    if measure == "range":
        figure = f"{2**-median - 1:+.0%}, {share}"
    elif measure.startswith("error"):
        figure = f"{-median:+.1f} dB, {share}"
    elif measure.startswith("near_zero"):
        figure = f"{one['before']:.1%} to {one['after']:.1%}, {share}"
    else:
        figure = f"W {one['before']:.3f} to {one['after']:.3f}"
    return (
        f"{'**' if outcome == 'does not hold' else ''}{outcome}{'**' if outcome == 'does not hold' else ''}: {figure}"
    )


def role_table(results: Sequence[Result]) -> list[str]:
    """Return the median change of the error at 3 bits in dB, for each role and network."""
    lines = _heading(["tensors", *(result["name"] for result in results)])
    for role, plural in [("weights", "weights"), *((role, ROLES[role]) for role in ROLES if role != "weight")]:
        found = [find(result, PAPER, role, "error_3") for result in results]
        if any(found):
            lines.append(_row([plural, *(_change(one) for one in found)]))
    return lines


def transform_table(results: Sequence[Result]) -> list[str]:
    """Return the median change of the error at 3 bits for each transform, one scale and fine scales."""
    lines = _heading(["transform", "of", "scales", *(result["name"] for result in results)])
    for transform in dict.fromkeys(name for result in results for name in result["comparisons"]):
        for kind in KINDS:
            for measure, scales in (("error_3", "one"), ("error_fine_3", "row or token")):
                found = [find(result, transform, kind, measure) for result in results]
                if any(found):
                    lines.append(_row([f"`{transform}`", kind, scales, *(_change(one) for one in found)]))
    return lines


def _change(one: Result | None) -> str:
    if one is None:
        return ""
    return f"{-one['evidence']['median']:+.2f} dB, {one['evidence']['positive']} of {one['evidence']['pairs']}"


def source_table(results: Sequence[Result]) -> list[str]:
    """Return the weights, number of places and command of each network's analysis."""
    lines = _heading(["network", "weights", "places", "command"])
    for result in results:
        about, places = result["about"], sum(result["counts"].values())
        lines.append(_row([result["name"], f"`{about['sha256'][:12]}`", str(places), f"`{about['command']}`"]))
    return lines


def walk_lines(results: Sequence[Result]) -> list[str]:
    """Return the sentences of the walks, for the networks that have one."""
    walks = [result["walk"] for result in results if "walk" in result]
    found = [Walk(w["picture"], w["network"], [WalkStep(**step) for step in w["steps"]], w["output"]) for w in walks]
    return [f"- {sentence}" for walk in found for sentence in walk.sentences()]


def _heading(cells: Sequence[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


TABLES = {
    "verdicts": verdict_table,
    "roles": role_table,
    "transforms": transform_table,
    "sources": source_table,
    "walk": walk_lines,
}


def read_results(folder: Path = RESULTS) -> list[Result]:
    """Return all saved results by descending file name: SwinIR-light comes first."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"), reverse=True)]


def with_tables(page: str, results: Sequence[Result]) -> str:
    """Return the page with the tables between its marks replaced."""
    for name, table in TABLES.items():
        begin, end = (mark.format(name=name) for mark in MARKS)
        if page.count(begin) != 1 or page.count(end) != 1:
            raise SystemExit(f"{PAGE.name} must have exactly one table {name!r} between {begin} and {end}")
        before, rest = page.split(begin)
        page = "\n".join([before + begin, *table(results), end + rest.split(end)[1]])
    return page


def main() -> None:
    """Keep a summary, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("keep")
    keep.add_argument("name")
    keep.add_argument("summary", type=Path)
    commands.add_parser("table")
    args = parser.parse_args()
    if args.command == "keep":
        result = kept(args.name, json.loads(args.summary.read_text(encoding="utf-8")))
        file = RESULTS / f"{re.sub(r'[^a-z0-9]+', '_', args.name.lower())}.json"
        write_whole(file, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    else:
        write_whole(PAGE, with_tables(PAGE.read_text(encoding="utf-8"), read_results()).encode())


if __name__ == "__main__":
    main()
