"""Option files are found by path first, then by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compsrt_plugin.config.files import command_line, find_option_file, option_files
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.bundled import checkpoint_path
from compsrt_plugin.upscale.open_network import find_network


def test_files_of_each_network_are_installed_for_each_command_and_three_teachers() -> None:
    assert {command: len(option_files(command)) for command in ("test", "train")} == {"test": 21, "train": 24}


@pytest.mark.parametrize("name", ["compsrt_x4_3bit.yml", "compsrt_x4_3bit"])
def test_an_installed_file_is_found_by_name_with_or_without_yml(name: str) -> None:
    found = {command: find_option_file(name, command) for command in ("test", "train")}
    assert found["test"].parts[-2:] == ("test", "compsrt_x4_3bit.yml")
    assert found["train"].parts[-2:] == ("train", "compsrt_x4_3bit.yml")


def test_a_path_comes_before_an_installed_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "compsrt_x4_3bit.yml").write_text("name: mine")
    monkeypatch.chdir(tmp_path)
    assert find_option_file("compsrt_x4_3bit.yml", "test").resolve().parent == tmp_path


def test_a_miss_lists_the_nearest_names_first() -> None:
    with pytest.raises(CompSRTError, match=r"'compsrt_x4_3bits'.*nearest names: compsrt_x4_3bit, ") as error:
        find_option_file("compsrt_x4_3bits", "test")
    assert "\n" not in str(error.value)


def test_a_folder_is_no_option_file(tmp_path: Path) -> None:
    with pytest.raises(CompSRTError, match="is a folder"):
        find_option_file(str(tmp_path), "test")


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("bits", [2, 4, 7, 8])
def test_hints_name_no_option_file_that_does_not_exist(scale: int, bits: int) -> None:
    hints = [command_line(command, scale, bits, "quant=null") for command in ("train", "test")]
    for find in (lambda: checkpoint_path(scale, bits), lambda: find_network(scale, bits)):
        try:
            find()
        except CompSRTError as error:
            hints.append(str(error))
    for command, name in re.findall(r"basicsr (train|test) -opt (\S+?)(?:,|\s|$)", " ".join(hints)):
        assert name == "YOUR_FILE.yml" or name.removesuffix(".yml") in option_files(command)
    assert (scale in (2, 3, 4)) != any("YOUR_FILE" in hint for hint in hints)
