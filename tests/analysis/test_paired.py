import dataclasses
import doctest
import importlib
import json

import numpy as np
import pytest
from scipy import stats

from compsrt_plugin.analysis.paired import holm, one_sided, paired, smallest_p
from compsrt_plugin.errors import CompSRTError


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(importlib.import_module("compsrt_plugin.analysis.paired"))
    assert result.attempted >= 2 and result.failed == 0


def test_p_of_both_tests_is_exact_where_signs_and_ranks_can_be_counted_by_hand() -> None:
    found = paired([1.0, 2.0, 3.0, -4.0])
    # of 16 signings of the ranks 1..4, 7 have a sum of positive ranks of 6 or more
    assert found.wilcoxon_p == pytest.approx(7 / 16)
    # of 16 sequences of four signs, 5 have three or four plus
    assert found.sign_p == pytest.approx(5 / 16)
    assert (found.pairs, found.positive, found.negative) == (4, 3, 1)


def test_d_z_is_the_mean_over_the_sample_standard_deviation() -> None:
    found = paired([1.0, 2.0, 6.0])
    assert found.mean == 3.0 and found.median == 2.0
    assert found.d_z == pytest.approx(3 / 7**0.5)


def test_the_tests_are_one_sided() -> None:
    values = np.arange(1.0, 11)
    assert paired(values).wilcoxon_p == pytest.approx(2**-10)
    assert paired(-values).wilcoxon_p == 1.0 and paired(-values).sign_p == 1.0


@pytest.mark.parametrize("pairs", [2, 5, 14])
def test_all_signs_alike_give_the_smallest_p(pairs: int) -> None:
    found = paired(np.arange(1.0, pairs + 1))
    assert found.wilcoxon_p == pytest.approx(smallest_p(pairs))
    assert found.sign_p == pytest.approx(found.smallest_p) == pytest.approx(0.5**pairs)


def test_five_pairs_cannot_give_a_p_below_three_hundredths() -> None:
    assert smallest_p(5) > 0.03
    assert smallest_p(5, family=6) == pytest.approx(6 / 32)
    assert smallest_p(0) == 1.0


def test_zero_differences_say_nothing_and_count_for_nothing_in_the_tests() -> None:
    without = paired([1.0, 2.0, 4.0])
    found = paired([1.0, 0.0, 2.0, 0.0, 4.0])
    assert found.pairs == 5 and found.positive == 3 and found.negative == 0
    assert found.sign_p == without.sign_p and found.smallest_p == without.smallest_p
    assert found.wilcoxon_p == pytest.approx(without.wilcoxon_p)


@pytest.mark.parametrize("values", [[1.0, 1.0, -1.0, 2.0, 2.0], [1.0, -1.0], [-3.0, 1.0, 1.0, 1.0]])
def test_tied_ranks_have_the_exact_p_of_scipy(values: list[float]) -> None:
    exact = stats.wilcoxon(values, alternative="greater", method=stats.PermutationMethod())
    assert one_sided(values)[0] == pytest.approx(exact.pvalue, abs=1e-12)


def test_one_sided_gives_the_p_of_paired() -> None:
    found = paired([1.0, 2.0, 0.0, -4.0])
    assert one_sided([1.0, 2.0, 0.0, -4.0]) == (found.wilcoxon_p, found.sign_p)
    assert one_sided([0.0, 0.0]) == (1.0, 1.0)


def test_differences_that_are_all_zero_are_no_evidence() -> None:
    found = paired([0.0, 0.0, 0.0])
    assert (found.wilcoxon_p, found.sign_p, found.smallest_p) == (1.0, 1.0, 1.0)
    assert found.d_z is None and found.interval == (0.0, 0.0)


def test_equal_differences_have_no_d_z_and_an_interval_of_one_point() -> None:
    found = paired([0.1] * 6)
    assert found.d_z is None
    assert found.interval == pytest.approx((0.1, 0.1))
    json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))


def test_the_interval_depends_on_the_seed_alone_and_holds_the_mean() -> None:
    values = np.random.default_rng(1).normal(0.3, 1.0, 40)
    found = paired(values)
    assert found.interval == paired(values, seed=0).interval != paired(values, seed=1).interval
    assert found.interval[0] < found.mean < found.interval[1]


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [paired(rng.normal(0.0, 1.0, 30)).interval for _ in range(60)]
    covered = sum(low <= 0 <= high for low, high in intervals)
    assert 51 <= covered <= 60  # 95 % of 60 is 57; percentile intervals of 30 values cover a little less


def test_holm_multiplies_by_the_number_of_tests_left_and_never_steps_down() -> None:
    # 4 × 0.01, 3 × 0.02, then 2 × 0.03 and 1 × 0.04, which is raised to its predecessor
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_never_exceeds_one_and_takes_an_empty_family() -> None:
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("values", [[], [1.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_too_few_values_are_refused_in_one_line(values: list) -> None:
    with pytest.raises(CompSRTError, match="allowed: a one-dimensional array of 2 or more"):
        paired(values)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(CompSRTError, match="1 of 3 paired differences are not finite"):
        paired([1.0, bad, 2.0])
