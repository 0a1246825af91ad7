"""Flags of the compiled library follow the compiler and the system."""

from __future__ import annotations

import platform
import runpy
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .building import CSRC

FILE = CSRC.SOURCES / "levels.py"


def read_on(system: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(platform, "system", lambda: system)
    return SimpleNamespace(**runpy.run_path(str(FILE)))


@pytest.mark.parametrize(("system", "openmp"), [("Linux", True), ("Darwin", False), ("Windows", False)])
def test_openmp_is_asked_for_where_the_systems_compiler_has_it(
    system: str, openmp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ("-fopenmp" in read_on(system, monkeypatch).THREADS) is openmp


@pytest.mark.parametrize(("here", "there"), [("x86_64", "AMD64"), ("aarch64", "arm64")])
def test_a_processor_has_its_levels_under_every_name(here: str, there: str) -> None:
    assert list(CSRC.level_sources(there)) == list(CSRC.level_sources(here))
    assert len(list(CSRC.level_sources(here))) > len(list(CSRC.level_sources("riscv64")))


def test_clang_cl_takes_every_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = read_on("Windows", monkeypatch)
    for _, _, flags in windows.level_sources("AMD64"):
        spelled = windows.for_clang_cl([*windows.COMMON, *windows.THREADS, *flags])
        assert all(flag.startswith(("-I", "-D", "/clang:-")) for flag in spelled)
        assert not any("-pthread" in flag for flag in spelled)
        if shutil.which("clang++") is None:
            continue
        (tmp_path / "empty.cpp").write_text("int one() { return 1; }\n")
        command = ["clang++", "--driver-mode=cl", "--target=x86_64-pc-windows-msvc", "/WX", *spelled, "/c", "empty.cpp"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
