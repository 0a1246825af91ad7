"""The page on sensitivity holds what the result files say of the estimate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import sensitivity

from compsrt_plugin.errors import CompSRTError


def result(measured: list[float], estimated: list[float]) -> dict[str, Any]:
    activations = {str(i): pair for i, pair in enumerate(zip(measured, estimated))}
    return {
        "network": "Net",
        "bits": 4,
        "cpu_seconds": {"estimated": 2.0, "measured": 90.0},
        "activations": activations,
    }


def test_the_page_is_what_the_results_say() -> None:
    results, page = sensitivity.read_results(sensitivity.RESULTS), sensitivity.PAGE.read_text()
    assert results
    assert sensitivity.page_with(page, sensitivity.table(results)) == page


def test_a_row_says_how_near_the_estimate_is() -> None:
    measured = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    line = sensitivity.table([result(measured, [2.0, 4.0, 16.0, 8.0, 10.0, 12.0, 14.0, 6.0])]).splitlines()[-1]
    assert line == "| Net | 4 | 8 | 0.405 | 4 | 2.00 | 2.0 s, not 90 s |"


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(CompSRTError, match="no place for the table"):
        sensitivity.page_with("# Sensitivity\n", "")
