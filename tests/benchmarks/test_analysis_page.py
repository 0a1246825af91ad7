"""docs/notes/analysis.md shows what its result files say."""

from __future__ import annotations

import sys

import pages

sys.path.insert(0, str(pages.ROOT / "benchmarks"))

import analysis_table

PAGE = analysis_table.PAGE.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_result_files():
    results = analysis_table.read_results()
    assert len(results) >= 3
    assert analysis_table.with_tables(PAGE, results) == PAGE


def test_another_result_changes_the_page():
    results = analysis_table.read_results()
    results[0]["comparisons"]["hadamard"][0]["evidence"]["median"] += 1.0
    assert analysis_table.with_tables(PAGE, results) != PAGE


def test_result_files_are_small_and_say_where_they_come_from():
    assert all(file.stat().st_size < 100_000 for file in analysis_table.RESULTS.glob("*.json"))
    for result in analysis_table.read_results():
        assert result["about"]["command"].startswith("basicsr analyze ") and len(result["about"]["sha256"]) == 64


def test_the_plots_on_the_guide_are_small() -> None:
    plots = [target for target in pages.links(pages.read("docs/analyze.md")) if target.startswith("images/")]
    assert len(plots) == 2
    for plot in plots:
        assert (pages.DOCS / plot).stat().st_size < 200_000
