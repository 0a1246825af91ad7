"""Comparisons pair each place with itself, point in the paper's direction, and are corrected as one family."""

from __future__ import annotations

import dataclasses

import pytest

from compsrt_plugin.analysis.paired import holm
from compsrt_plugin.analysis.tensors.transform_tests import MEASURES, evaluate_transform
from compsrt_plugin.analysis.tensors.verdicts import judge_findings

from .analyzed import place, statistics


def test_a_measure_is_compared_place_by_place():
    places = [place(n, before=statistics(span=4.0 + n), after=statistics(span=(4.0 + n) / 2)) for n in range(6)]
    (found,) = [
        one for one in evaluate_transform(places, "hadamard") if (one.kind, one.measure) == ("activations", "range")
    ]
    assert found.evidence.mean == pytest.approx(1.0)  # octaves
    assert (found.before, found.after) == (6.5, 3.25)
    assert found.evidence.positive == found.evidence.pairs == 6


@pytest.mark.parametrize(
    ("measure", "before", "after"),
    [
        ("range", {"span": 2.0}, {"span": 1.0}),
        ("near_zero_0.1", {"near_zero": {"0.001": 0, "0.01": 0, "0.1": 0.1}},
         {"near_zero": {"0.001": 0, "0.01": 0, "0.1": 0.2}}),
        ("error_3", {"error": {"2": 1, "3": 0.2, "4": 1}}, {"error": {"2": 1, "3": 0.1, "4": 1}}),
        ("kurtosis", {"kurtosis": 9.0}, {"kurtosis": 1.0}),
        ("normality_shapiro_wilk", {"w": 0.99}, {"w": 0.9}),
        ("normality_jarque_bera", {"jb": 1.0}, {"jb": 9.0}),
    ],
)  # fmt: skip
def test_a_positive_difference_is_what_the_paper_reports(measure: str, before: dict, after: dict):
    one = MEASURES[measure]
    values = [one.value(statistics(**side)) for side in (before, after)]
    assert None not in values
    assert one.difference(values[0], values[1]) > 0 > one.difference(values[1], values[0])


def test_places_without_the_transform_and_single_places_are_left_out():
    lone = place(0, before=statistics(), after=statistics(span=0.5))
    without = dataclasses.replace(lone, domains={"none": statistics()})
    assert evaluate_transform([lone, without], "hadamard") == []
    assert evaluate_transform([lone, lone], "hadamard_exact") == []


def test_holm_covers_all_tests_of_the_transform():
    places = [place(n, before=statistics(span=2.0), after=statistics(span=1.0 + 0.1 * n)) for n in range(9)]
    found = evaluate_transform(places, "hadamard")
    assert [one.p for one in found] == holm([one.evidence.wilcoxon_p for one in found])
    known = [name for name in MEASURES if not name.startswith("error_fine")]  # these places have no such error
    assert [(one.kind, one.measure) for one in found] == [(k, name) for k in ("activations", "input") for name in known]


def judged(places: list) -> dict[str, str]:
    return {one.finding: one.outcome for one in judge_findings(evaluate_transform(places, "hadamard"))}


def test_a_finding_holds_is_refuted_or_is_not_shown():
    def places(factor: float, count: int = 40) -> list:
        return [place(n, before=statistics(span=1 + n), after=statistics(span=(1 + n) * factor)) for n in range(count)]

    assert judged(places(0.5))["range"] == "holds"
    assert judged(places(2.0))["range"] == "does not hold"
    assert judged(places(0.5, count=4))["range"] == "not shown"  # four places cannot give p below 0.06
    assert judged(places(0.5))["error_3"] == "not shown"  # equal before and after


def test_not_more_normal_holds_unless_most_tests_show_more_normal_values():
    def places(**after: float) -> list:
        before = {"w": 0.9, "k2": 50.0, "a2": 9.0, "jb": 50.0}
        return [place(n, before=statistics(**before), after=statistics(**{**before, **after})) for n in range(40)]

    assert judged(places())["normality"] == "holds"
    assert judged(places(w=0.99))["normality"] == "holds"  # one test of four
    assert judged(places(w=0.99, k2=2.0, a2=0.5, jb=2.0))["normality"] == "does not hold"


def test_a_sentence_gives_the_figures():
    places = [place(n, before=statistics(span=2.0 + n), after=statistics(span=1.0 + n / 2)) for n in range(40)]
    (sentence,) = [
        one.sentence for one in judge_findings(evaluate_transform(places, "hadamard")) if one.finding == "range"
    ]
    assert sentence.startswith("Activations, smaller range: holds. The median change of the range is -50%")
    assert "at 40 of 40 places (Wilcoxon p " in sentence
