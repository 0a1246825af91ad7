"""A seeded sample of `option_fuzzing`; `benchmarks/fuzz_options.py` runs every case."""

from __future__ import annotations

import random

import option_fuzzing
import pytest
from places import Place


@pytest.mark.parametrize("command", ["test", "train"])
def test_a_key_with_any_value_is_a_run_or_one_line(command: str, place: Place) -> None:
    cases = [case for case in option_fuzzing.cases(place) if case[0] == command]
    assert len(cases) > 300
    outcomes = set()
    for case in random.Random(0).sample(cases, 15):
        try:
            outcomes.add(option_fuzzing.run(case, place) == "run")
        except Exception as error:
            raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
    assert outcomes == {True, False}, "some are refused, and some run"
