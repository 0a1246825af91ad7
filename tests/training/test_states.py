"""States appear whole, old ones go, and a full disk leaves the last good one."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from compsrt_plugin.basicsr_compat.resume import state_files
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training.states import random_states, restore_random_states, write_state


def test_only_the_newest_two_stay_by_number_not_by_name(tmp_path: Path):
    for iteration in (8, 9, 10):
        write_state(tmp_path, iteration, {"iter": iteration})
    assert [path.name for path in state_files(tmp_path)] == ["9.state", "10.state"]


def test_states_of_a_run_that_was_given_up_do_not_outlive_the_one_that_went_on_before_them(tmp_path: Path):
    for iteration in (2, 4, 6):
        torch.save({}, tmp_path / f"{iteration}.state")
    write_state(tmp_path, 3, {"iter": 3})
    assert [path.name for path in state_files(tmp_path)] == ["2.state", "3.state"]


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path):
    (tmp_path / ".part-123-abcd").write_bytes(b"half")
    write_state(tmp_path, 1, {})
    assert [path.name for path in tmp_path.iterdir()] == ["1.state"]


def test_a_full_disk_is_told_and_the_last_good_state_is_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_state(tmp_path, 1, {"iter": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("compsrt_plugin.files.os.fsync", full)
    with pytest.raises(CompSRTError, match=r"2\.state: No space left on device; .*--auto_resume"):
        write_state(tmp_path, 2, {"iter": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["1.state"]
    assert torch.load(tmp_path / "1.state", weights_only=True) == {"iter": 1}


def test_random_states_load_as_plain_data_and_give_the_same_numbers(tmp_path: Path):
    path = write_state(tmp_path, 0, random_states())
    wanted = random.random(), np.random.rand(), torch.rand(2).tolist()
    restore_random_states(torch.load(path, weights_only=True))
    assert (random.random(), np.random.rand(), torch.rand(2).tolist()) == wanted
