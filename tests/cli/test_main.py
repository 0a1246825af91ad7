"""The `basicsr` command teaches, answers quickly, and ends in one line when something is wrong."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
import types

import pytest

from compsrt_plugin.cli import main as cli
from compsrt_plugin.errors import CompSRTError


def fake_command(monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
    """Add a subcommand `fake` that raises `error`, or prints its flag and returns 7."""

    def add_arguments(parser):
        parser.add_argument("--word", default="nothing", choices=["nothing", "something"])

    def run(args):
        if error is not None:
            raise error
        print(args.word)
        return 7

    module = types.ModuleType("compsrt_plugin.cli.fake")
    module.add_arguments, module.run = add_arguments, run  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.COMMANDS, "fake", "do nothing")


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command_and_shows_examples(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    text = capsys.readouterr().out
    for name, about in cli.COMMANDS.items():
        assert name in text
        assert about in text
    assert "basicsr test -opt compsrt_x4_3bit.yml" in text
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("command", ["test", "train", "doctor"])
def test_each_command_helps_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: basicsr {command}")
    assert "examples:" in text


def test_help_does_not_wait_for_torch() -> None:
    script = (
        "import sys; from compsrt_plugin.cli.main import main\n"
        "for argv in (['--help'], ['test', '--help'], ['train', '-opt', 'none such']): main(argv)\n"
        "print('heavy:', sorted({'torch', 'numpy', 'basicsr', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: []\n")


def test_python_m_is_the_same_command() -> None:
    argv = [sys.executable, "-m", "compsrt_plugin", "tset"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("basicsr: error: unknown command 'tset'")


def test_a_command_gets_its_flags_and_gives_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(monkeypatch)
    assert cli.main(["fake", "--word", "something"]) == 7
    assert capsys.readouterr().out == "something\n"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["tests"], "unknown command 'tests'; allowed: .*; did you mean 'test'?"),
        (["fake", "--wrod", "x"], "unrecognized arguments: --wrod x; see basicsr fake --help"),
        (["fake", "--word", "x"], "argument --word: invalid choice: 'x'"),
        (["test"], "the following arguments are required: -opt"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    argv: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(monkeypatch)
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("basicsr: error: " + says.split("; allowed")[0].split(": invalid")[0])
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CompSRTError("a is b"), 2, "basicsr: error: a is b\n"),
        (KeyboardInterrupt(), 130, "basicsr: interrupted\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "basicsr: error: No space left on device; .*\n"),
        (
            OSError("Failed in writing images."),
            2,
            "basicsr: error: an image could not be written; free some space.*\n",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "basicsr: error: Permission denied: /x; .*\n"),
    ],
    ids=["mistake", "interrupted", "disk full", "BasicSR's image", "no permission"],
)
def test_what_a_user_can_cause_is_one_line(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_command(monkeypatch, error)
    assert cli.main(["fake"]) == code
    assert re.fullmatch(line, capsys.readouterr().err)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), FileNotFoundError(errno.ENOENT, "no such file")])
def test_a_bug_shows_its_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_command(monkeypatch, error)
    with pytest.raises(type(error)):
        cli.main(["fake"])
