"""A Python that does not work is told in one line, before anything is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compsrt_plugin import pythons

ROOT = Path(__file__).resolve().parents[1]


def say_version(monkeypatch: pytest.MonkeyPatch, *version: int) -> None:
    monkeypatch.setattr(sys, "version_info", version)


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 15, 0), (4, 11, 0)])
def test_another_python_ends_in_one_line_that_names_those_that_work(
    version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say_version(monkeypatch, *version)
    assert pythons.main() == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert pythons.WHICH in line and f"is Python {version[0]}.{version[1]};" in line
    assert "make demo PYTHON=python3.1" in line


@pytest.mark.parametrize("minor", [10, 11, 12, 13, 14])
def test_those_that_work_are_let_through_in_silence(
    minor: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say_version(monkeypatch, 3, minor, 0)
    assert pythons.main() == 0
    assert capsys.readouterr() == ("", "")


def test_setup_readme_and_constraints_agree_about_them() -> None:
    assert pythons.REQUIRES == ">=3.10,<3.15"
    assert pythons.WHICH == "Python 3.10 to 3.14"
    assert 'python_requires=PYTHONS["REQUIRES"]' in (ROOT / "setup.py").read_text(encoding="utf-8")
    assert pythons.WHICH in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f'target-version = "py3{pythons.OLDEST}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_stops_at_that_line_and_has_made_nothing(tmp_path: Path) -> None:
    for name in ("Makefile", "setup.py", "pyproject.toml", "constraints.txt", "compsrt_plugin/pythons.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    old = tmp_path / "old_python"
    pretend = "import runpy, sys; sys.version_info = (3, 9, 0); runpy.run_path(sys.argv[1], run_name='__main__')"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$@"\n')
    old.chmod(0o755)
    before = sorted(tmp_path.iterdir())
    # A make that runs under `make test` inherits its flags and prints the folders it enters.
    own = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    command = ["make", "demo", f"PYTHON={old}"]
    done = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if f"needs {pythons.WHICH}" in line]
    assert done.stdout == ""
    assert sorted(tmp_path.iterdir()) == before
