"""Numbers of threads: what is refused, and how a process is fitted to a system that starts few."""

from __future__ import annotations

import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from compsrt_plugin import threads
from compsrt_plugin.cli.main import main
from compsrt_plugin.errors import CompSRTError


@pytest.mark.parametrize("count", [0, -1, 257, 1.5, True, "2", None])
def test_numbers_that_are_refused(count: Any) -> None:
    with pytest.raises(CompSRTError, match=r"--threads is .*; allowed: integers 1 to 256"):
        threads.checked("--threads", count)


@pytest.mark.parametrize(
    "command",
    [
        ["upscale", "a.png", "-o", "b.png", "--threads", "257"],
        ["upscale", "a.png", "-o", "b.png", "--threads", "0"],
        ["profile", "compsrt_x4_3bit.yml", "--threads", "1", "257"],
        ["prepare", "--hr", "hr", "--out", "out", "--scales", "4", "--workers", "257"],
    ],
    ids=" ".join,
)
def test_commands_refuse_numbers_that_are_too_large(
    command: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    (tmp_path / "hr").mkdir()
    for name in ("a.png", "hr/a.png"):
        Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(name)
    assert main(command) == 2
    assert "allowed: integers 1 to 256" in capsys.readouterr().err
    assert not (tmp_path / "b.png").exists()


def starting(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let the system start no more than so many threads beside this one."""
    alive = 0
    begin = threads.threading.Thread.start

    class Limited(threads.threading.Thread):
        def start(self) -> None:
            nonlocal alive
            if alive == most:
                raise RuntimeError("can't start new thread")
            alive += 1
            begin(self)

        def join(self, timeout: float | None = None) -> None:
            nonlocal alive
            super().join(timeout)
            alive -= 1

    monkeypatch.setattr(threads.threading, "Thread", Limited)


@pytest.mark.parametrize(("most", "asked", "found"), [(0, 4, 1), (2, 4, 3), (3, 4, 4), (9, 4, 4), (5, 1, 1)])
def test_startable_threads_are_counted_with_the_one_that_asks(
    monkeypatch: pytest.MonkeyPatch, most: int, asked: int, found: int
) -> None:
    starting(monkeypatch, most)
    assert threads.startable(asked) == found
    assert threads.startable(asked) == found  # all of them have ended


@pytest.mark.parametrize(("most", "usable"), [(0, 1), (5, 1), (6, 2), (17, 3), (18, 4), (100, 4)])
def test_openmp_gets_no_more_threads_than_can_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, most: int, usable: int
) -> None:
    starting(monkeypatch, most)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.delitem(sys.modules, "torch")
    with caplog.at_level(logging.WARNING, "basicsr"):
        monkeypatch.setattr(logging.getLogger("basicsr"), "propagate", True)
        threads.fit_to_system()
    assert os.environ["OMP_NUM_THREADS"] == str(usable)
    assert (f"{usable} of 4 threads compute" in caplog.text) == (usable < 4)


def test_torch_that_is_imported_already_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    starting(monkeypatch, 7)
    told: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    threads.fit_to_system()
    assert told == [2]


@pytest.mark.parametrize("said", ["", "many", "0"])
def test_without_a_number_there_is_a_thread_for_each_core(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(threads, "cores", lambda: 3)
    asked: list[int] = []
    monkeypatch.setattr(threads, "startable", lambda count: asked.append(count) or count)
    threads.fit_to_system()
    assert asked == [threads.POOLS * 2 + 1] and os.environ["OMP_NUM_THREADS"] == said


def test_work_is_done_by_the_caller_where_no_thread_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    starting(monkeypatch, 0)
    with threads.executor(4) as executor:
        assert not isinstance(executor, ThreadPoolExecutor)
        assert list(executor.map(abs, [-1, 2])) == [1, 2]
        with pytest.raises(ZeroDivisionError):
            executor.submit(lambda: 1 // 0).result()
