"""A run that fails before it has results leaves the earlier ones in place; one that has results keeps them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from basicsr.utils.misc import mkdir_and_rename

import compsrt_plugin
from compsrt_plugin.cli.run_folder import check_writable, keeps_earlier_results
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training.stop_request import StopRequest

compsrt_plugin.register()
ERRORS = [CompSRTError("x"), KeyError("x"), KeyboardInterrupt(), OSError(28, "No space left on device")]


def run(folder: Path, error: BaseException, *files: str) -> None:
    with pytest.raises(type(error)), keeps_earlier_results([folder]):
        mkdir_and_rename(str(folder))
        for name in files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)
        raise error


def content(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A run folder with a result."""
    folder = tmp_path / "results" / "run[1]"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text("earlier")
    return folder


def test_logs_alone_are_nothing_of_worth(tmp_path: Path) -> None:
    run(tmp_path / "results" / "a", CompSRTError("x"), "test.log", "a.yml", "events.out.tfevents.1")
    assert list(tmp_path.iterdir()) == []


def test_anything_else_stays(tmp_path: Path) -> None:
    run(tmp_path / "results" / "a", CompSRTError("x"), "test.log", "image.png")
    assert (tmp_path / "results" / "a" / "test.log").exists()


def test_a_bug_leaves_its_log(tmp_path: Path) -> None:
    run(tmp_path / "results" / "a", RuntimeError("x"), "test.log")
    assert (tmp_path / "results" / "a" / "test.log").exists()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_earlier_results_are_back_in_place_whatever_failed(earlier: Path, error: BaseException) -> None:
    run(earlier, error, "test.log")
    assert (earlier / "results.json").read_text() == "earlier"
    assert [path.name for path in earlier.parent.iterdir()] == [earlier.name]
    bug = isinstance(error, (KeyError, OSError))
    assert (earlier / "test.log").exists() == bug, "the log of a bug is worth a look"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_earlier_results_are_back_in_place_after_a_signal(earlier: Path, number: int) -> None:
    ours = signal.signal(number, signal.SIG_DFL)  # nohup leaves SIGHUP ignored
    try:
        with pytest.raises(SystemExit) as stop, keeps_earlier_results([earlier]):
            mkdir_and_rename(str(earlier))
            os.kill(os.getpid(), number)
        assert stop.value.code == 128 + number
        assert content(earlier.parent) == {"run[1]/results.json"}
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, ours)


def test_a_failed_training_gives_ctrl_c_back(earlier: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), keeps_earlier_results([earlier]):
        StopRequest().listen()
        raise KeyError("x")
    assert signal.getsignal(signal.SIGINT) == before


def test_earlier_results_are_back_in_place_where_no_new_folder_could_be_made(earlier: Path) -> None:
    with pytest.raises(OSError), keeps_earlier_results([earlier]):
        earlier.rename(f"{earlier}_archived_20260101_000000")
        raise OSError(28, "No space left on device")
    assert content(earlier.parent) == {"run[1]/results.json"}


def test_pictures_of_a_failed_test_are_moved_aside_not_removed(earlier: Path) -> None:
    run(earlier, CompSRTError("x"), "test.log", "image.png")
    assert content(earlier) == {"results.json"}
    (failed,) = [path for path in earlier.parent.iterdir() if path != earlier]
    assert failed.name.startswith("run[1]_failed_") and content(failed) == {"test.log", "image.png"}


@pytest.mark.parametrize("result", ["training_states/0.state", "models/net_g_5.pth", "results.json"])
def test_what_a_run_can_go_on_from_stays_under_its_name(earlier: Path, result: str) -> None:
    run(earlier, CompSRTError("x"), "train.log", result)
    assert content(earlier) == {"train.log", result}
    assert len(list(earlier.parent.iterdir())) == 2, "the earlier one is archived"


def test_a_folder_that_was_there_before_is_never_removed(tmp_path: Path) -> None:
    folder = tmp_path / "experiments" / "a"
    folder.mkdir(parents=True)
    with pytest.raises(CompSRTError), keeps_earlier_results([folder]):
        raise CompSRTError("resuming failed")
    assert folder.exists()


def test_three_runs_of_one_name_in_one_second_keep_all_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda *_: "20260101_000000")
    folder = tmp_path / "run"
    for number in range(4):
        mkdir_and_rename(str(folder))
        (folder / "results.json").write_text(str(number))
    kept = {path.name: (path / "results.json").read_text() for path in tmp_path.iterdir()}
    archive = "run_archived_20260101_000000"
    assert kept == {archive: "0", f"{archive}_2": "1", f"{archive}_3": "2", "run": "3"}


def test_writing_is_tried_where_the_folder_would_be_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "results" / "deeper")
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_of_the_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(CompSRTError, match=r"cannot write to .*results: Permission denied; start in a folder"):
        check_writable(tmp_path / "results")
