"""A run that a mistake stops early leaves nothing; one that has results keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest

from compsrt_plugin.commands.run_folder import check_writable, leaves_nothing_on_error
from compsrt_plugin.errors import CompSRTError


def run(folder: Path, error: Exception, *files: str) -> None:
    with pytest.raises(type(error)), leaves_nothing_on_error([folder]):
        folder.mkdir(parents=True)
        for name in files:
            (folder / name).write_text("")
        raise error


def test_logs_alone_are_nothing_of_worth(tmp_path: Path) -> None:
    run(tmp_path / "results" / "a", CompSRTError("x"), "test.log", "a.yml", "events.out.tfevents.1")
    assert list(tmp_path.iterdir()) == []


def test_anything_else_stays(tmp_path: Path) -> None:
    run(tmp_path / "results" / "a", CompSRTError("x"), "test.log", "picture.png")
    assert (tmp_path / "results" / "a" / "test.log").exists()


def test_a_bug_leaves_its_log(tmp_path: Path) -> None:
    run(tmp_path / "results" / "a", RuntimeError("x"), "test.log")
    assert (tmp_path / "results" / "a" / "test.log").exists()


def test_a_folder_that_was_there_before_is_never_removed(tmp_path: Path) -> None:
    folder = tmp_path / "experiments" / "a"
    folder.mkdir(parents=True)
    with pytest.raises(CompSRTError), leaves_nothing_on_error([folder]):
        raise CompSRTError("resuming failed")
    assert folder.exists()


def test_writing_is_tried_where_the_folder_would_be_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "results" / "deeper")
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_of_the_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(CompSRTError, match=r"cannot write to .*results: Permission denied; start in a folder"):
        check_writable(tmp_path / "results")
