"""The README shows only what runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compsrt_plugin.cli.main import main
from compsrt_plugin.config.files import find_option_file

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    counts = [int(n) for n in re.findall(r": (\d+)", capsys.readouterr().out)]
    assert len(counts) == 4 and max(counts) <= 8


def test_every_option_file_it_names_is_installed():
    named = re.findall(r"basicsr (train|test) -opt (\S+?\.yml)", README)
    assert named
    for command, name in named:
        find_option_file(name, command)


def test_every_subcommand_it_names_explains_itself(capsys: pytest.CaptureFixture[str]):
    named = sorted(set(re.findall(r"`?basicsr (\w+) ", README)))
    assert len(named) > 5
    for command in named:
        assert main([command, "--help"]) == 0
        assert command in capsys.readouterr().out


def test_every_file_it_links_to_is_there():
    targets = re.findall(r"\]\((?!http|#)([^)#]+)\)", README)
    assert len(targets) > 5
    for target in targets:
        assert (ROOT / target).exists(), target
