"""Every page of documentation: links lead somewhere, commands and examples are accepted, the index knows the page."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pages
import pytest
import yaml

from compsrt_plugin.cli.main import COMMANDS
from compsrt_plugin.config.check import check_options
from compsrt_plugin.config.files import find_option_file
from compsrt_plugin.config.force_yml import apply_force_yml
from compsrt_plugin.config.reader import read_option_file

ALL = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
ALL += sorted(str(path.relative_to(pages.ROOT)) for path in pages.DOCS.rglob("*.md"))
NOTES = [name for name in ALL if name.startswith("docs/notes/")]
PHRASES = (  # what the pages said before and nobody else in this field says
    *("picture", "whole number", "scales of tokens", "scale of tokens", "laboratory", "told of it"),
    *("what it is told", "is no code", "no network of", "puts? right", "make up for each other", "by hand it"),
)


@pytest.fixture(scope="module")
def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each subcommand."""
    found = {}
    for name in COMMANDS:
        found[name] = argparse.ArgumentParser(prog=f"basicsr {name}", exit_on_error=False)
        importlib.import_module(f"compsrt_plugin.cli.{name}").add_arguments(found[name])
        found[name].add_argument("--code", "--arch", action="append")
    return found


@pytest.mark.parametrize("name", ALL)
def test_links_lead_to_files_and_headings_that_exist(name: str) -> None:
    here = pages.ROOT / name
    for target in pages.links(pages.read(name)):
        path, _, anchor = target.partition("#")
        file = (here.parent / path).resolve() if path else here
        assert file.exists(), target
        if anchor:
            assert anchor in pages.anchors(file.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", ALL)
def test_commands_are_accepted_by_their_parsers(name: str, parsers: dict[str, argparse.ArgumentParser]) -> None:
    for command, *arguments in pages.commands(pages.read(name)):
        if command == "COMMAND" or "[" in "".join(arguments):
            continue  # a synopsis
        parsers[command].parse_args(arguments)


@pytest.mark.parametrize("name", ALL)
def test_options_of_commands_are_accepted(name: str, parsers: dict[str, argparse.ArgumentParser]) -> None:
    for command, *arguments in pages.commands(pages.read(name)):
        if command in ("train", "test") and re.match(r"(compsrt|swinir)_", arguments[arguments.index("-opt") + 1]):
            given = parsers[command].parse_args(arguments)
            if given.code:
                continue  # its names are known once that code has run: test_own_code.py, test_your_own_network.py
            options = read_option_file(find_option_file(given.opt, command))
            apply_force_yml(options, given.force_yml)
            check_options(options, command, given.opt)


@pytest.mark.parametrize("name", ALL)
def test_examples_are_valid_python_and_yaml(name: str) -> None:
    text = pages.read(name)
    for example in pages.blocks(text, "python"):
        compile(example, name, "exec")
    for example in pages.blocks(text, "yaml"):
        yaml.safe_load(example)


def test_the_index_names_every_page() -> None:
    named = {(pages.DOCS / target.partition("#")[0]).resolve() for target in pages.links(pages.read("docs/index.md"))}
    missing = {pages.ROOT / name for name in ALL if name.startswith("docs/")} - named - {pages.DOCS / "index.md"}
    assert not missing


@pytest.mark.parametrize("name", NOTES)
def test_a_note_says_when_its_figures_were_measured(name: str) -> None:
    assert re.search(r"20\d\d-\d\d-\d\d", "\n".join(pages.read(name).splitlines()[:12])), name


@pytest.mark.parametrize("name", [name for name in ALL if name != "CHANGELOG.md"])
def test_pages_use_the_words_of_the_field(name: str) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|<!--.*?-->", "", pages.read(name), flags=re.DOTALL)
    found = [phrase for phrase in PHRASES if re.search(rf"\b{phrase}", prose, re.IGNORECASE)]
    assert not found


def test_no_image_of_the_pages_is_unused_or_large() -> None:
    shown = {Path(target).name for name in ALL for target in pages.links(pages.read(name))}
    for image in (pages.DOCS / "images").iterdir():
        assert image.name in shown, image
        assert image.stat().st_size < 1_000_000, image


@pytest.mark.parametrize("folder", ["compsrt_plugin", "archs", "options", "benchmarks", "tools"])
def test_pages_that_code_names_exist(folder: str) -> None:
    sources = [path for ending in ("py", "yml") for path in (pages.ROOT / folder).rglob(f"*.{ending}")]
    named = {name for path in sources for name in re.findall(r"docs/[\w/]+\.md", path.read_text(encoding="utf-8"))}
    assert [name for name in sorted(named) if not (pages.ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ALL)
def test_files_and_tests_that_a_page_names_exist(name: str) -> None:
    text = pages.read(name)
    for file in re.findall(r"`(?:python )?((?:tests|benchmarks|tools|csrc|compsrt_plugin)/[\w/.-]+\.\w+)", text):
        assert (pages.ROOT / file).exists(), file
    for file, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        assert f"def {test}(" in (pages.ROOT / file).read_text(encoding="utf-8"), test
