"""Differences to the baseline: pairs of images and of data sets, and what too few of them cannot show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from compsrt_plugin.compare.differences import Difference, compare_to_baseline
from compsrt_plugin.compare.judging import Contestant
from compsrt_plugin.compare.sources import Source
from compsrt_plugin.report import Results, Score

Psnrs = dict[str, Sequence[float]]


def entry(name: str, psnrs: Psnrs, ssim: bool = True) -> Contestant:
    results = Results(name, 4, 3, 1, 1, "reflect", {}, "strict", "plus", True)
    for data_set, values in psnrs.items():
        for index, psnr in enumerate(values):
            results.add_image(data_set, f"{index}.png", quantized=Score(psnr, psnr / 100 if ssim else None))
    return Contestant(Source(name, name, "result folder", 4, results=results), results)


def compared(*psnrs: Psnrs, ssim: bool = True) -> dict[tuple[str, str, str], Difference]:
    entries = [entry(name, values, ssim) for name, values in zip("abcd", psnrs)]
    keys = [(name, f"{index}.png") for name, values in psnrs[0].items() for index in range(len(values))]
    return {(one.metric, one.over, one.entry): one for one in compare_to_baseline(entries, keys)}


def test_a_positive_difference_means_better_than_the_first() -> None:
    found = compared({"X": [30, 31, 32, 33]}, {"X": [30.5, 31.25, 32.5, 33.75]})
    one = found["psnr", "images of X", "b"]
    assert one.baseline == "a" and one.pairs == 4
    assert one.paired is not None and one.paired.mean == pytest.approx(0.5)
    assert (one.paired.positive, one.paired.negative) == (4, 0)
    assert one.paired.wilcoxon_p == one.adjusted_p == 1 / 16


def test_pairs_are_pictures_of_each_set_all_pictures_and_means_of_data_sets() -> None:
    first = {"X": [30.0, 31.0, 32.0], "Y": [25.0]}
    found = compared(first, {"X": [31.0, 32.0, 33.0], "Y": [28.0]})
    assert list(dict.fromkeys(over for _, over, _ in found)) == [
        "images of X", "images of Y", "all images", "data sets",
    ]  # fmt: skip
    pictures, sets = found["psnr", "all images", "b"].paired, found["psnr", "data sets", "b"].paired
    assert pictures is not None and pictures.pairs == 4 and pictures.mean == pytest.approx(1.5)
    assert sets is not None and sets.pairs == 2 and sets.mean == pytest.approx(2.0)
    assert found["psnr", "images of Y", "b"].paired is None
    assert found["psnr", "images of Y", "b"].warning == "1 pair: no interval and no test"


def test_p_is_corrected_for_all_entries_that_meet_one_baseline() -> None:
    psnrs = [30 + index / 7 for index in range(8)]
    found = compared({"X": psnrs}, {"X": [p + 1 + p / 9 for p in psnrs]}, {"X": [p + 9 - p / 9 for p in psnrs]})
    for name in "bc":
        one = found["psnr", "images of X", name]
        assert one.paired is not None and one.paired.wilcoxon_p == 2**-8
        assert one.adjusted_p == 2**-7


@pytest.mark.parametrize(
    ("sets", "warning"),
    [
        (4, "4 pairs that differ: p cannot be below 0.063; too few to say anything"),
        (5, "5 pairs that differ: p cannot be below 0.031; only a difference in (nearly) all pairs can be found"),
        (6, "6 pairs that differ: p cannot be below 0.016; only a difference in (nearly) all pairs can be found"),
        (7, ""),
    ],
)
def test_too_few_data_sets_are_warned_of(sets: int, warning: str) -> None:
    first = {f"S{index}": [30.0 + index, 31.0] for index in range(sets)}
    better = {name: [a + 1 + index / 9, b + 1] for index, (name, (a, b)) in enumerate(first.items())}
    assert compared(first, better)["psnr", "data sets", "b"].warning == warning


def test_pairs_that_do_not_differ_do_not_count() -> None:
    found = compared({"X": [30.0] * 9}, {"X": [30.0] * 8 + [31.0]})["psnr", "images of X", "b"]
    assert found.warning.startswith("1 pair that differs: p cannot be below 0.5")
    same = compared({"X": [30.0] * 9}, {"X": [30.0] * 9})["psnr", "images of X", "b"]
    assert same.warning == "no pair differs" and same.adjusted_p == 1


def test_perfect_pictures_are_no_difference_or_no_number() -> None:
    both = compared({"X": [math.inf, 30.0, 31.0]}, {"X": [math.inf, 31.0, 32.0]}, ssim=False)
    assert both["psnr", "images of X", "b"].paired is not None
    one = compared({"X": [30.0, 30.0, 31.0]}, {"X": [math.inf, 31.0, 32.0]}, ssim=False)["psnr", "images of X", "b"]
    assert one.paired is None and "infinite" in one.warning
    assert "mean" not in one.to_dict()


def test_without_ssim_there_is_none() -> None:
    assert {metric for metric, _, _ in compared({"X": [30, 31]}, {"X": [31, 32]}, ssim=False)} == {"psnr"}
