"""Where compiled parts are required, what needs them and is skipped fails the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = {
    "engine/test_a.py": '@pytest.mark.skipif(True, reason="the engine is not compiled here")\ndef test_a(): ...',
    "native/test_b.py": 'def test_b(): pytest.skip("anything")',
    "native/test_c.py": 'def test_c(): pytest.skip("this processor has no AVX-512")',
    "engine/test_d.py": '@pytest.mark.xfail(reason="known")\ndef test_d(): assert 0',
    "other/test_e.py": 'def test_e(): pytest.skip("no GPU")',
}


def outcome(folder: Path, required: str, conftest: str = "") -> tuple[int, str]:
    for name, text in TESTS.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"import pytest\n{text}\n")
    (folder / "conftest.py").write_text(f"from compiled_parts import *\n{conftest}\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    tests = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": tests, "COMPSRT_COMPILED": required},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


FOUND = "import compiled_parts\ncompiled_parts.is_there = lambda: True"


def test_skipped_tests_of_compiled_parts_fail_where_they_are_required(tmp_path: Path) -> None:
    code, said = outcome(tmp_path, "required", FOUND)
    assert code == 1
    assert "1 failed, 2 skipped, 1 xfailed, 1 error" in said  # a mark that skips does so before the test begins
    assert "ERROR engine/test_a.py::test_a" in said and "FAILED native/test_b.py::test_b" in said
    code, said = outcome(tmp_path, "", FOUND)
    assert code == 0 and "4 skipped, 1 xfailed" in said


def test_nothing_runs_without_the_library_where_it_is_required(tmp_path: Path) -> None:
    gone = "import compiled_parts\ncompiled_parts.is_there = lambda: False"
    code, said = outcome(tmp_path, "required", gone)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "the compiled library is missing" in said
    assert outcome(tmp_path, "", gone)[0] == 0
