"""The README shows only what runs."""

from __future__ import annotations

import re

import pages
import pytest

from compsrt_plugin.cli.main import main
from compsrt_plugin.config.files import find_option_file

README = pages.read("README.md")


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
