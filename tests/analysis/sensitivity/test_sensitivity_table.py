"""The table of activations says what to change, in a form that option files and `--force_yml` take."""

from __future__ import annotations

import dataclasses
import math

import pytest

from compsrt_plugin.analysis.sensitivity import Activation, Sensitivity, sensitivity_text, sensitivity_to_dict
from compsrt_plugin.config.force_yml import apply_force_yml

ACTIVATIONS = (
    Activation("layers.0.fc1.input", 3, 4e-4),
    Activation("layers.0.attn.v", 8, 3e-4),
    Activation("layers.1.fc1.input", 3, 2e-4),
    Activation("layers.1.attn.q", 3, 1e-4),
)
FOUND = Sensitivity(ACTIVATIONS, 1e-3, "four images", exact=True)


def test_shares_add_up_and_what_is_not_listed_is_summed():
    table = sensitivity_text(FOUND, 3).splitlines()
    cells = [line.split("█")[0].split() for line in table[2:6]]
    assert [row[-2] for row in cells] == ["40.0%", "30.0%", "20.0%", "10.0%"]
    assert [row[-1] for row in cells] == ["40.0%", "70.0%", "90.0%", "100.0%"]
    assert cells[-1][:2] == ["1", "more"]
    assert [line.count("█") for line in table[2:6]] == [24, 18, 12, 0]


def test_the_overrides_are_those_of_the_activations_listed_that_have_fewer_bits():
    last = sensitivity_text(FOUND, 3).splitlines()[-1]
    options: dict = {"quant": {"bits": 3}}
    apply_force_yml(options, [last.strip("'")])
    assert options["quant"]["overrides"] == {"layers.0.fc1.input": {"bits": 6}, "layers.1.fc1.input": {"bits": 6}}


def test_nothing_to_change_where_all_have_enough():
    table = sensitivity_text(Sensitivity((Activation("fc.input", 8, 1e-6),), 1e-6, "four images", False), 5)
    assert "overrides" not in table and "more" not in table


def test_a_network_that_errors_do_not_reach_has_shares_of_none():
    table = sensitivity_text(Sensitivity((Activation("fc.input", 3, 0.0),), 0.0, "four images", False), 5)
    assert "0.0%" in table and "inf dB" in table


def test_programs_get_every_activation():
    document = sensitivity_to_dict(FOUND)
    assert [one["name"] for one in document["activations"]] == [one.name for one in ACTIVATIONS]
    assert math.fsum(one["share"] for one in document["activations"]) == pytest.approx(1)
    assert document["error_together"] == 1e-3 and document["pictures"] == "four images"
    assert document["exact"] is True


def test_the_table_says_whether_it_is_an_estimate():
    assert "each activation quantized alone" in sensitivity_text(FOUND, 3)
    estimated = sensitivity_text(dataclasses.replace(FOUND, exact=False), 3)
    assert "estimated" in estimated and "measured   " not in estimated
