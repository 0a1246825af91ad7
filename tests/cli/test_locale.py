"""An option file is UTF-8 whatever the locale's text is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import Place

NOT_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "OMP_NUM_THREADS": "1"}


def basicsr(*flags: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "compsrt_plugin", *flags]
    return subprocess.run(words, env={**os.environ, **NOT_UTF8}, capture_output=True, encoding="utf-8", timeout=300)


def test_a_comment_in_any_language_is_read_and_copied(place: Place) -> None:
    place.train["train"]["total_iter"] = 0
    place.write("train")
    options = Path("options.yml")
    options.write_text(f"# Größe, 大きさ\n{options.read_text()}", encoding="utf-8")
    done = basicsr("train", "-opt", "options.yml")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "# Größe, 大きさ" in Path("experiments/run/options.yml").read_text(encoding="utf-8")


def test_a_name_for_which_the_locale_has_no_letters_is_one_line(place: Place) -> None:
    place.write("test")
    options = Path("options.yml")
    options.write_text(options.read_text().replace("name: run", "name: Größe"), encoding="utf-8")
    done = basicsr("test", "-opt", "options.yml")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("basicsr: error: name is ")
    assert "start with PYTHONUTF8=1" in done.stderr


@pytest.mark.parametrize("name", ["run[1]", "*", "a?"])
def test_a_name_with_signs_of_patterns_is_a_name(name: str, place: Place) -> None:
    place.test["name"] = name
    assert place.run("test") == 0
    before = Path("results", name, "results.json").read_bytes()
    place.lr.write_bytes(b"")
    assert place.run("test") == 2
    assert Path("results", name, "results.json").read_bytes() == before
    assert [path.name for path in Path("results").iterdir()] == [name]
