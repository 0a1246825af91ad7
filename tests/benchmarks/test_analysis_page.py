"""docs/analyze.md shows what its result files say."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import analysis_table

from compsrt_plugin.cli.main import main

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


def test_every_command_on_the_page_is_one(capsys: pytest.CaptureFixture[str]):
    assert main(["analyze", "--help"]) == 0
    text = capsys.readouterr().out
    lines = re.findall(r"^basicsr analyze (.+)$", PAGE, re.MULTILINE)
    assert len(lines) >= 3
    for flag in {flag for line in lines for flag in re.findall(r"(?<!\S)--?[a-z_]+", line)}:
        assert re.search(rf"(?<!\S){re.escape(flag)}\b", text), flag


def test_pictures_on_the_page_are_there_and_small():
    pictures = re.findall(r"\]\((images/[^)]+)\)", PAGE)
    assert pictures
    for picture in pictures:
        assert (analysis_table.PAGE.parent / picture).stat().st_size < 200_000
