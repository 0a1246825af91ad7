"""Patterns match what `glob` matches, but never one image under several names."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest

from compsrt_plugin.upscale.patterns import fixed_part, matching


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "in/a.png", "in/b.jpg", "in/deep/c.png", "in/deep/er/a.png", "in/.h/x.png", "in/[x]/y.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def found(pattern: str) -> list[str]:
    return [str(path) for path in matching(Path(pattern))]


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize(
    "pattern",
    [
        "in/*.png",
        "in/**/*.png",
        "**/*.png",
        "**",
        "in/**",
        "in/**/deep/**/*.png",
        "*/*/c.png",
        "in/[[]x]/**/*",
        "no/**",
    ],
)
def test_without_links_it_is_what_glob_finds(here: Path, pattern: str, absolute: bool):
    pattern = str(here / pattern) if absolute else pattern
    expected = {str(Path(match)) for match in glob.glob(pattern, recursive=True) if Path(match).is_file()}
    assert {name for name in found(pattern) if Path(name).is_file()} == expected


def test_links_in_a_circle_end_and_no_picture_has_two_names():
    for number in range(4):
        Path(f"in/deep/up{number}").symlink_to("..")
        Path(f"in/across{number}").symlink_to("deep")
    assert found("in/**/*.png") == ["in/[x]/y.png", "in/a.png", "in/deep/c.png", "in/deep/er/a.png"]


def test_a_folder_outside_is_reached_through_a_link():
    Path("other/inner").mkdir(parents=True)
    Path("other/inner/z.png").touch()
    Path("in/link").symlink_to("../other")
    assert "in/link/inner/z.png" in found("in/**/*.png")


@pytest.mark.parametrize(("pattern", "fixed"), [("in/d*/c.png", "in"), ("*.png", "."), ("/x/y/**/z", "/x/y")])
def test_the_fixed_part_ends_before_the_first_wildcard(pattern: str, fixed: str):
    assert fixed_part(Path(pattern)) == Path(fixed)
