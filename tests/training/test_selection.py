"""The result is the best by held-out PSNR, and says so."""

from __future__ import annotations

import pytest
import torch

from compsrt_plugin.training.selection import Selection, named_as_test_sets


def offered(*values: float) -> Selection:
    selection = Selection()
    for number, value in enumerate(values):
        selection.offer(10 * number, value, {"u": torch.tensor(float(number))})
    return selection


def test_the_best_is_kept_and_the_first_of_equals():
    selection = offered(30.0, 31.5, 31.5, 31.0)
    assert selection.parameters["u"] == 1
    assert selection.provenance(40) == {"by": "holdout PSNR", "iteration": 10, "value": 31.5}


def test_without_a_held_out_set_the_last_iteration_is_the_result():
    assert Selection().provenance(40) == {"by": "last iteration", "iteration": 40, "value": None}
    assert Selection().last_scored == -1


def test_what_does_not_count_is_drawn_and_not_chosen():
    selection = offered(30.0)
    selection.offer(10, 35.0, {"u": torch.tensor(9.0)}, eligible=False)
    assert selection.iteration == 0
    assert selection.curve[-1] == (10, 35.0)


def test_it_comes_back_from_its_state():
    selection, other = offered(30.0, 31.5), Selection()
    other.restore(selection.state())
    assert other.state() == selection.state()


@pytest.mark.parametrize(
    ("dataset", "found"),
    [
        ({"name": "set14"}, ["set14"]),
        ({"name": "Holdout", "dataroot_gt": "/data/Urban100/HR"}, ["Holdout (Urban100)"]),
        ({"name": "Holdout", "dataroot_gt": "/data/DF2K/HR"}, []),
    ],
)
def test_a_validation_set_named_as_a_test_set_is_found(dataset: dict, found: list):
    assert named_as_test_sets({"train": {"name": "Set5"}, "val_1": dataset}) == found
