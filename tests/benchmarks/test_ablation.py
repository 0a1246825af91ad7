"""The ablation turns one switch at a time, and its table says by how much that moved the figures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import ablation
from timed_run import Budget, options, settings


def arguments(**changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"train": "T", "held_out": None, "scale": 4, "set": [], "name": "", **changes})


@pytest.mark.parametrize("switch", ablation.SWITCHES)
@pytest.mark.parametrize("base", ["plus", "compsrt"])
def test_a_variant_is_its_base_with_one_switch_the_other_way(base: str, switch: str) -> None:
    plain, turned = (ablation.variant(base, 3, 0, name, arguments()) for name in (None, switch))
    before, after = (settings(options(4, 3, one.entries)) for one in (plain, turned))
    is_on = {name: (s.is_on(before), s.is_on(after)) for name, s in ablation.SWITCHES.items()}
    assert [name for name, (one, other) in is_on.items() if one != other] == [switch]
    assert turned.turned_on is is_on[switch][1]
    assert turned.name == f"{base}_x4_3bit_{'with' if turned.turned_on else 'without'}_{switch}_s0"


def test_a_base_without_relative_rates_gets_the_published_one() -> None:
    def rate(base: str, bits: int) -> float:
        return settings(options(4, bits, ablation.variant(base, bits, 0, None, arguments()).entries))["train"]["lr"]

    assert [rate("plus", bits) for bits in (2, 3, 4)] == [2e-3, 1e-3, 3e-4]
    assert [rate(base, 3) for base in ("compsrt", "2dquant")] == [1e-2, 1e-2]


def test_a_budget_ends_by_time_or_by_iterations() -> None:
    assert Budget(10).share(5, 1000) == 0.5
    assert Budget(10, iterations=4).share(1000, 1) == 0.25


def test_the_table_gives_differences_to_the_base_at_the_same_seeds() -> None:
    def result(switch: str | None, seed: int, psnr: float) -> dict[str, Any]:
        known = {"scale": 4, "bits": 3, "tag": "", "base": "plus", "iterations": 100, "bytes": 500_000}
        return {**known, "switch": switch, "turned_on": False, "seed": seed, "psnr": psnr, "to_teacher": psnr + 10}

    results = [result(None, 0, 26.0), result(None, 1, 26.2), result("warmup", 1, 26.1), result("conv8", 0, 26.5)]
    table = ablation.tables(results)
    assert "| without: warm-up of 20 iterations | 1 | 26.100 | -0.100 | 36.100 | -0.100 | 100 | 500,000 |" in table
    assert "| without: convolutions at 8 bits | 1 | 26.500 | +0.500 |" in table
    assert "| `plus` | 2 | 26.100 |  | 36.100 |  |" in table
    assert "up to 0.200 dB apart" in ablation.noise(results)


def test_the_page_is_what_the_results_say() -> None:
    folder = Path(ablation.__file__).parent / "ablation_results"
    note = Path(ablation.__file__).parents[1] / "docs" / "notes" / "ablation.md"
    assert ablation.page(ablation.read_results(folder), folder.name) == note.read_text(encoding="utf-8")
