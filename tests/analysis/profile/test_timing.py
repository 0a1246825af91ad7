"""Calls take turns, and what is said of their times is right."""

from __future__ import annotations

import pytest

from compsrt_plugin.analysis.profile import timing
from compsrt_plugin.analysis.profile.timing import WARM_UP, Timing, interleaved


def test_every_round_has_every_call_once_and_begins_with_another(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timing, "PAUSE", 0)
    order: list[str] = []
    found = interleaved({name: lambda name=name: order.append(name) for name in "abc"}, 3)
    assert order == [*"a" * WARM_UP, *"b" * WARM_UP, *"c" * WARM_UP, *"abc", *"bca", *"cab"]
    assert all(len(found[name].seconds) == 3 for name in "abc")


def test_without_a_number_rounds_end_when_the_time_is_over_but_not_before_the_third(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timing, "PAUSE", 0)
    for seconds, rounds in ((-1.0, timing.FEWEST_ROUNDS), (1e9, timing.MOST_ROUNDS)):
        monkeypatch.setattr(timing, "SECONDS", seconds)
        assert len(interleaved({"a": lambda: None})["a"].seconds) == rounds
        assert len(interleaved({"a": lambda: None}, 5)["a"].seconds) == 5


def test_a_slow_call_is_warmed_up_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timing, "SLOW", -1.0)
    calls: list[int] = []
    interleaved({"a": lambda: calls.append(0)}, 1)
    assert len(calls) == 2


def test_medians_percentiles_and_differences_by_round():
    slow, fast = Timing((0.3, 0.9, 0.2)), Timing((0.2, 0.1, 0.1))
    assert slow.median_ms == pytest.approx(300)
    assert slow.percentile_ms(0) == pytest.approx(200) and slow.percentile_ms(100) == pytest.approx(900)
    assert slow.above_ms(fast) == pytest.approx(100)  # of 100, 800, 100


@pytest.mark.parametrize(("seconds", "far"), [((0.10, 0.11, 0.12, 0.14), False), ((0.10, 0.11, 0.12, 0.40), True)])
def test_rounds_that_lie_far_apart_are_told_from_those_that_do_not(seconds: tuple[float, ...], far: bool):
    assert Timing(seconds).scattered is far
