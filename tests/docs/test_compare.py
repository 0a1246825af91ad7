"""docs/compare.md shows only commands that are accepted."""

from __future__ import annotations

import argparse
import re
import shlex

import pages

from compsrt_plugin.cli import compare
from compsrt_plugin.compare.visuals import BUDGET, CROP, QUALITIES, STEPS

GUIDE = pages.read("docs/compare.md")


def test_every_command_is_accepted() -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    compare.add_arguments(parser)
    lines = re.findall(r"^ *basicsr compare (.*)$", GUIDE + compare.EXAMPLES, re.MULTILINE)
    assert len(lines) >= 7
    for line in lines:
        assert parser.parse_args(shlex.split(line)).out == "compared"


def test_numbers_are_those_of_the_code() -> None:
    words = " ".join(GUIDE.split())
    assert f"{CROP} × {CROP} pixels" in words and f"{STEPS} grey levels" in words
    assert f"quality {QUALITIES[1]} or {QUALITIES[2]}" in words and "below 20 MB" in words and BUDGET < 20_000_000


def test_the_screenshot_is_small() -> None:
    (name,) = re.findall(r"!\[.*\]\((.*?)\)", GUIDE)
    assert (pages.DOCS / name).stat().st_size <= 200_000
