from __future__ import annotations

import doctest
import importlib

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.pruning import Schedule


def test_the_example_in_the_docstring_runs():
    result = doctest.testmod(importlib.import_module("compsrt_plugin.pruning.schedule"))
    assert result.attempted > 0 and result.failed == 0


def test_without_an_end_everything_is_pruned_before_the_first_iteration():
    assert Schedule().ratio(0, 0.4) == 0.4
    assert not any(Schedule().is_step(i) for i in range(1000))


@pytest.mark.parametrize("curve", ["cubic", "linear"])
def test_the_share_never_falls_starts_at_nothing_and_ends_at_the_ratio(curve: str):
    schedule = Schedule(start=50, end=1020, every=100, curve=curve)
    shares = [schedule.ratio(i, 0.4) for i in range(1200)]
    assert shares == sorted(shares) and shares[50] == 0 and shares[1020] == 0.4
    assert sum(schedule.is_step(i) for i in range(1200)) == 10
    assert schedule.is_step(150) and schedule.is_step(1020) and not schedule.is_step(151)


def test_cubic_prunes_early_and_linear_evenly():
    cubic, linear = (Schedule(0, 1000, 1, curve).ratio(500, 0.4) for curve in ("cubic", "linear"))
    assert cubic == pytest.approx(0.35) and linear == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": 5, "end": 3}, "prune.start is 5, prune.end 3"),
        ({"every": 0}, "prune.every is 0"),
        ({"curve": "steep"}, "prune.curve is 'steep'; allowed: cubic, linear"),
    ],
)
def test_an_impossible_schedule_is_told_in_one_line(values, message):
    with pytest.raises(CompSRTError, match=message):
        Schedule(**values)
