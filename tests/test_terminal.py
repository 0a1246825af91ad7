"""Output goes wherever it is sent: to a pipe that closes, a full disk, a file, a stream without Unicode."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compsrt_plugin import terminal
from compsrt_plugin.cli import main as cli

# one process for all: help of every command, and what a small command prints of a path
PRINT_ALL = """
import contextlib, sys
from compsrt_plugin.cli import main as cli
codes = [cli.main([name, "--help"]) for name in cli.COMMANDS] + [cli.main([])]
print("−0.11 dB", "caf\\udce9")
print(codes, file=sys.stderr)
"""


def basicsr(*words: str, shell: str, unbuffered: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a shell, `shell` being what follows it."""
    line = f'"{sys.executable}" -m compsrt_plugin {" ".join(words)} {shell}'
    return subprocess.run(
        ["bash", "-c", f"{line}; echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    ("shell", "code", "says"),
    [
        ("| true", "141", ""),
        ("2>&1 | true", "141", ""),
        (">&-", "0", ""),
        ("> /dev/full", "2", "basicsr: error: No space left on device; nothing more was written\n"),
    ],
    ids=["reader gone", "of both", "stdout closed", "disk full"],
)
def test_output_that_nobody_takes_ends_quietly(shell: str, code: str, says: str, unbuffered: str) -> None:
    done = basicsr("--help", shell=shell, unbuffered=unbuffered)
    assert (done.stdout.split()[-1], done.stderr) == (code, says)


@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8"])
def test_every_command_prints_whatever_the_encoding(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", PRINT_ALL], capture_output=True, check=False, env=environment)
    assert done.stderr.decode().split() == str([0] * (len(cli.COMMANDS) + 1)).split()
    assert b"0.11 dB caf\\udce9" in done.stdout


def test_a_broken_pipe_that_is_not_the_output_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: list[str]) -> int:
        raise BrokenPipeError("a worker died")

    monkeypatch.setattr(cli, "dispatch", fail)
    with pytest.raises(BrokenPipeError, match="a worker died"):
        cli.main([])


# progress


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged where every step is worth a line; stderr is no terminal under pytest."""
    monkeypatch.setattr(terminal, "LINE_EVERY", 0.0)
    logger = logging.getLogger("basicsr")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, logging.NullHandler()])
    caplog.set_level(logging.INFO, logger="basicsr")
    return caplog


def test_where_stderr_is_no_terminal_progress_is_lines_of_the_log(
    log: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(terminal.progress([1, 2, 3], desc="patches of x", unit="patches")) == [1, 2, 3]
    lines = [record.getMessage() for record in log.records]
    assert any(line.startswith("patches of x: 2 of 3 patches, 00:00 so far, about ") for line in lines), lines
    assert "\r" not in "".join(lines) and "%|" not in "".join(lines)
    assert "\r" not in capsys.readouterr().err


def test_a_line_names_the_step_and_shows_parts_of_a_unit(log: pytest.LogCaptureFixture) -> None:
    with terminal.progress(total=1.6, unit="MP") as bar:
        terminal.name_step(bar, "photo.png")
        bar.update(0.25)
    lines = [record.getMessage() for record in log.records]
    assert lines[-1].startswith("photo.png: 0.25 of 1.60 MP, 00:00 so far, about "), lines


def test_on_a_terminal_a_new_step_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    with terminal.progress(total=1.6, unit="MP", bar_format="{desc}: {n:.2f}") as bar:
        terminal.name_step(bar, "photo.png")
        assert "photo.png: 0.00" in screen.getvalue()


def test_without_a_log_the_lines_go_to_stderr(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger("basicsr"), "handlers", [])
    with terminal.progress(total=None, desc="download", unit="B") as bar:
        bar.update(1000)
    assert "download: 1,000 B, 00:00 so far\n" in capsys.readouterr().err
    assert not log.records


def test_short_work_and_other_processes_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (True, False):
        assert list(terminal.progress(range(3), shown=shown, desc="x", unit="y")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    list(terminal.progress(range(3), desc="images", unit="image"))
    assert "\r" in screen.getvalue() and "images: 100%|" in screen.getvalue()


def test_no_bar_is_drawn_but_through_this_module() -> None:
    package = Path(terminal.__file__).parent
    own = {
        package / "terminal.py",
        package / "training" / "progress_bar.py",
    }  # the latter: BasicSR's lines stand in for it
    for path in sorted(package.rglob("*.py")):
        if path not in own:
            assert "tqdm(" not in path.read_text(encoding="utf-8"), path
