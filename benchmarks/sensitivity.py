"""Compare the estimate of each activation's part in the output's error with quantizing one activation at a time.

    python benchmarks/sensitivity.py run NAME=FILE … [--pictures 2] [--results benchmarks/sensitivity_results]
    python benchmarks/sensitivity.py table [--results benchmarks/sensitivity_results] [--out docs/notes/sensitivity.md]

`run` takes packed files with bounds only (`basicsr train … train:total_iter=0`, and `quant:guard=~` so that all
activations have the same bits). It writes a result file with both errors of every activation and the CPU seconds of
both ways in one run. `table` writes the comparison into a page, between its two marks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from compsrt_plugin.analysis.sensitivity import estimate_errors, measure_errors
from compsrt_plugin.analysis.sensitivity.activations import embedded_pieces
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed.open import open_packed

RESULTS = Path(__file__).parent / "sensitivity_results"
PAGE = Path(__file__).parents[1] / "docs" / "notes" / "sensitivity.md"
BEGIN, END = "<!-- benchmarks/sensitivity.py table -->\n", "<!-- end -->\n"
WORST = 5


def compare(network: str, path: Path, images: int) -> dict[str, Any]:
    """Measure and estimate the activations of a packed file on the same images; `network` is its name."""
    source = open_packed(path)
    lq, about = embedded_pieces(source, images)
    start = time.process_time()
    estimated = estimate_errors(source.network, lq, about)
    between = time.process_time()
    measured = measure_errors(source.network, lq, about)
    end = time.process_time()
    errors = {one.name: one.error for one in estimated.activations}
    return {
        "network": network,
        "bits": source.header.bits,
        "pictures": about,
        "together": float(f"{measured.together:.4g}"),
        "cpu_seconds": {"estimated": round(between - start, 1), "measured": round(end - between, 1)},
        "activations": {
            one.name: [float(f"{one.error:.4g}"), float(f"{errors[one.name]:.4g}")] for one in measured.activations
        },
    }


def found_of_worst(measured: list[float], estimated: list[float], count: int = WORST) -> int:
    """Return how many of the `count` largest measured errors are among the `count` largest estimates."""
    worst = [sorted(range(len(errors)), key=lambda i: -errors[i])[:count] for errors in (measured, estimated)]
    return len(set(worst[0]) & set(worst[1]))


def table(results: list[dict[str, Any]]) -> str:
    """Return the comparison as a Markdown table."""
    lines = [
        "| network | bits | activations | rank correlation | of the five worst | sum of estimates / measured | time |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for result in sorted(results, key=lambda one: (one["network"], -one["bits"])):
        measured, estimated = (list(column) for column in zip(*result["activations"].values()))
        seconds = result["cpu_seconds"]
        cells = [
            result["network"],
            str(result["bits"]),
            str(len(measured)),
            f"{spearmanr(measured, estimated)[0]:.3f}",
            str(found_of_worst(measured, estimated)),
            f"{sum(estimated) / sum(measured):.2f}",
            f"{seconds['estimated']:.1f} s, not {seconds['measured']:.0f} s",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the results in a folder."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def page_with(page: str, table: str, mark: str = BEGIN) -> str:
    """Return a page with the table between its marks, of which `mark` is the first.

    Raises:
        CompSRTError: the marks are not there.
    """
    before, begin, rest = page.partition(mark)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CompSRTError("the page has no place for the table", allowed=f"{mark.strip()} … {END.strip()}")
    return before + begin + table + end + after


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="compare packed files")
    run.add_argument("files", nargs="+", metavar="NAME=FILE")
    run.add_argument("--pictures", type=int, default=2, help="how many of the four embedded held-out ones (default 2)")
    write = commands.add_parser("table", help="write the table")
    write.add_argument("--out", type=Path, default=PAGE)
    for command in (run, write):
        command.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.command == "table":
        write_whole(args.out, page_with(args.out.read_text(), table(read_results(args.results))).encode())
        return 0
    for entry in args.files:
        name, _, file = entry.partition("=")
        result = compare(name, Path(file), args.pictures)
        args.results.mkdir(parents=True, exist_ok=True)
        target = args.results / f"{name.lower().replace(' ', '_')}_{result['bits']}bit.json"
        write_whole(target, (json.dumps(result) + "\n").encode())
        print(table([result]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
