"""The engine's page holds what the result files say of kept memory."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import allocator
from sensitivity import page_with


def test_the_page_is_what_the_results_say() -> None:
    results, page = allocator.read_results(), allocator.PAGE.read_text()
    assert len(results) == 2
    assert page_with(page, allocator.table(results), allocator.BEGIN) == page


def test_a_row_says_what_is_taken_instead_of_what() -> None:
    kept = {"faults": 4861.0, "system": 0.02, "cpu": 4.1, "peak MiB": 1665.2}
    returned = {"faults": 333_696.0, "system": 0.7, "cpu": 5.2, "peak MiB": 655.4}
    line = allocator.table([{"network": "Net", "size": "8x8", "kept": kept, "returned": returned}]).splitlines()[-1]
    assert line == ("| Net, 8x8 pixels | 4,861 for 333,696 | 0.02 s for 0.70 | 4.1 s for 5.2 | 1,665 MiB for 655 |")
