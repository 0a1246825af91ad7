from __future__ import annotations

import doctest

import pytest

from compsrt_plugin.report import columns, results, results_table


@pytest.mark.parametrize("module", [columns, results, results_table], ids=["columns", "results", "table"])
def test_the_examples_in_the_docstrings_are_true(module):
    outcome = doctest.testmod(module)

    assert outcome.attempted > 0
    assert outcome.failed == 0
