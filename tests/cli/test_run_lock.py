"""Two runs of one name never write into one folder, and a run that was killed blocks no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from compsrt_plugin.cli.run_lock import run_lock
from compsrt_plugin.errors import CompSRTError

HOLDER = """
import os, sys, time
from pathlib import Path
from compsrt_plugin.cli.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    child = os.fork()  # as a data loader's worker: it outlives the process that holds the lock
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A process that holds the lock of `results/run`, and the id of its child."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "results" / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        yield process
        process.kill()
        os.kill(child, signal.SIGKILL)


def test_a_second_run_is_refused_and_told_who_is_in_its_way(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    says = rf"results/run \(process {holder.pid} on .*use another name"
    with pytest.raises(CompSRTError, match=says), run_lock(tmp_path / "results" / "run"):
        pass
    with run_lock(tmp_path / "results" / "other"):
        pass


def test_a_killed_run_blocks_no_other_even_where_its_children_live_on(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    holder.kill()
    holder.wait()
    with run_lock(tmp_path / "results" / "run"):
        assert str(os.getpid()) in (tmp_path / "results" / ".run.lock").read_text()


def test_a_process_does_not_get_its_own_lock_twice(tmp_path: Path) -> None:
    with run_lock(tmp_path / "run"), pytest.raises(CompSRTError, match="another run"), run_lock(tmp_path / "run"):
        pass
    with run_lock(tmp_path / "run"):
        pass


def test_nothing_is_left_of_a_lock(tmp_path: Path) -> None:
    with run_lock(tmp_path / "results" / "run"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refuse(descriptor: int, *_: object) -> None:
        asked.append(descriptor)
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("compsrt_plugin.cli.run_lock.fcntl.lockf", refuse)
    for _ in range(2):
        with run_lock(tmp_path / "run"):
            assert asked and os.fstat(asked[-1])
    assert len(asked) == 2 and list(tmp_path.iterdir()) == []
    with pytest.raises(OSError):
        os.fstat(asked[-1])  # it is closed
