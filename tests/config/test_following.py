"""Another scale or other bits by `--force_yml`: what the file derives from them follows, and one line says so."""

from __future__ import annotations

from typing import Any

import pytest

from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.force_yml import apply_force_yml
from compsrt_plugin.config.reader import read_option_file


def installed(command: str, name: str = "compsrt_x4_3bit") -> dict[str, Any]:
    return read_option_file(option_files(command)[name])


@pytest.mark.parametrize("command", ["test", "train"])
@pytest.mark.parametrize("start", ["compsrt_x4_3bit", "compsrt_x2_4bit"])
def test_an_installed_file_becomes_the_one_for_that_scale_and_those_bits(command: str, start: str) -> None:
    for name in option_files(command):
        if name.startswith("compsrt_x"):
            wanted = installed(command, name)
            found = installed(command, start)
            apply_force_yml(found, [f"scale={wanted['scale']}", f"quant:bits={wanted['quant']['bits']}"])
            assert found == wanted, name


def test_a_teachers_file_becomes_that_of_the_scale_and_starts_from_what_it_names() -> None:
    found, wanted = installed("train", "swinir_light_x4_teacher"), installed("train", "swinir_light_x2_teacher")
    apply_force_yml(found, ["scale=2"])
    assert found["path"]["pretrain_network_g"] is None
    assert {**found, "path": wanted["path"]} == wanted


def test_one_line_says_what_followed(basicsr_log: pytest.LogCaptureFixture) -> None:
    apply_force_yml(installed("test"), ["scale=2"])
    (line,) = basicsr_log.messages
    for part in ("name is compsrt_x2_3bit", "network_g.upscale is 2", "val.metrics.psnr.crop_border is 2"):
        assert part in line


@pytest.mark.parametrize("entries", [[], ["scale=4"], ["quant:bits=3"], ["manual_seed=1"]])
def test_the_same_scale_and_bits_change_nothing(entries: list[str], basicsr_log: pytest.LogCaptureFixture) -> None:
    found = installed("train")
    apply_force_yml(found, entries)
    assert {**found, "manual_seed": 0} == installed("train")
    assert basicsr_log.messages == []


def test_what_the_command_line_gives_stays() -> None:
    found, given = installed("train"), ["name=mine", "network_g:upscale=4", "val:metrics={psnr: {crop_border: 4}}"]
    apply_force_yml(found, [*given, "distill:train_weights=true", "scale=2", "quant:bits=2"])
    assert found["name"] == "mine" and found["network_g"]["upscale"] == 4
    assert found["val"]["metrics"] == {"psnr": {"crop_border": 4}}
    assert found["distill"] == {"lr_weights": 1e-4, "train_weights": True}
    assert found["datasets"]["train"]["gt_size"] == 64, "32 x 32 in low resolution, as before"


def test_of_a_file_with_a_name_of_its_own_only_what_says_the_scale_follows() -> None:
    found = {**installed("train"), "name": "mine"}
    found["datasets"]["val"].update(filename_tmpl="{}_bicubic_x4", dataroot_lq="LR/X4")
    apply_force_yml(found, ["scale=2", "quant={bits: 2}"])
    assert (found["name"], found["train"]["optim_g"]["lr"]) == ("mine", 1e-3)
    assert found["datasets"]["val"]["filename_tmpl"] == "{}_bicubic_x2"
    assert found["datasets"]["val"]["dataroot_lq"] == "LR/X4", "a folder is the user's to name"
    assert (found["network_g"]["upscale"], found["val"]["metrics"]["psnr"]["crop_border"]) == (2, 2)


def test_values_that_say_another_scale_stay() -> None:
    found = installed("train")
    found["val"]["metrics"]["psnr"]["crop_border"] = 0
    found["datasets"]["train"]["gt_size"] = 126
    apply_force_yml(found, ["scale=2"])
    assert found["val"]["metrics"]["psnr"]["crop_border"] == 0
    assert found["datasets"]["train"]["gt_size"] == 126


@pytest.mark.parametrize("scale", ["four", "~", "[2]", "0", "-1", "true"])
def test_a_scale_that_is_none_changes_nothing_else(scale: str) -> None:
    found = installed("test")
    apply_force_yml(found, [f"scale={scale}"])
    assert {**found, "scale": 4} == installed("test")
