"""The installed option files are what their script writes, and what BasicSR can read."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.config.reader import read_option_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from write_options import BITS, BUNDLED, SCALES, main, option_texts, out_of_step

OPTIONS = option_files("test")["compsrt_x4_3bit"].parents[1]


def test_files_and_script_are_in_step() -> None:
    assert out_of_step(OPTIONS) == []
    assert len(option_texts()) == 45


def test_a_difference_is_found_and_repaired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    (tmp_path / "test/compsrt_x2_2bit.yml").write_text("name: changed")
    (tmp_path / "train/compsrt_x8_2bit.yml").write_text("left over")
    (tmp_path / "train/compsrt_x3_4bit.yml").unlink()
    assert main(["--check", "--out", str(tmp_path)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 3
    main(["--out", str(tmp_path)])
    assert out_of_step(tmp_path) == ["train/compsrt_x8_2bit.yml"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("bits", BITS)
def test_a_file_says_what_its_name_says(scale: int, bits: int) -> None:
    name = f"compsrt_x{scale}_{bits}bit"
    for command in ("test", "train"):
        options = read_option_file(option_files(command)[name])
        assert (options["name"], options["scale"], options["network_g"]["upscale"]) == (name, scale, scale)
        assert resolve(options["quant"]).bits == bits
        assert options["val"]["metrics"]["psnr"]["crop_border"] == scale


@pytest.mark.parametrize("scale", SCALES)
def test_a_teacher_is_trained_in_full_precision_and_the_other_scales_begin_with_x4(scale: int) -> None:
    options = read_option_file(option_files("train")[f"swinir_light_x{scale}_teacher"])
    assert (options["scale"], options["network_g"]["upscale"], options["model_type"]) == (
        scale,
        scale,
        "CompSRTTeacherModel",
    )
    assert "quant" not in options
    start = options["path"]["pretrain_network_g"]
    assert start is None if scale == 4 else "swinir_light_x4_teacher" in start


def test_held_out_pictures_are_judged_in_their_middle_and_never_trained_on() -> None:
    for path in option_files("train").values():
        data = read_option_file(path)["datasets"]
        assert (data["train"]["subset"], data["val"]["subset"], data["val"]["centre_patch"]) == ("train", "holdout", 96)


def test_files_without_a_bundled_checkpoint_say_how_to_make_it() -> None:
    for name, path in option_files("test").items():
        assert (f"basicsr train -opt {name}.yml" in path.read_text()) is (name not in BUNDLED)


def test_lines_can_be_read_without_scrolling() -> None:
    for text in option_texts().values():
        long = [line for line in text.splitlines() if len(line) > 120 and "--force_yml" not in line]
        assert long == []
        assert not re.search(r"[ \t]$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("command", ["test", "train"])
def test_basicsr_reads_the_files_by_itself(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from compsrt_plugin import basicsr_compat

    basicsr_compat.apply()
    from basicsr.utils import make_exp_dirs
    from basicsr.utils.options import parse_options

    path = option_files(command)["compsrt_x4_3bit"]
    monkeypatch.setattr("sys.argv", ["test.py", "-opt", str(path)])
    options, _ = parse_options(str(tmp_path), is_train=command == "train")
    ours = yaml.safe_load(path.read_text())
    assert options["quant"] == ours["quant"]
    assert {dataset["scale"] for dataset in options["datasets"].values()} == {4}
    make_exp_dirs(options)  # makes a folder of every path it does not know: ours must not be among them
    made = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
    results = ["results", "results/compsrt_x4_3bit", "results/compsrt_x4_3bit/visualization"]
    if command == "test":
        assert made == results
    else:
        assert "experiments/compsrt_x4_3bit/models" in made
