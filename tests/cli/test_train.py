"""`basicsr train` hands a checked option file to BasicSR's training pipeline."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import compsrt_plugin
from compsrt_plugin.cli.main import main


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the stand-in for `basicsr.train.train_pipeline` was given."""
    compsrt_plugin.register()
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {}

    def train_pipeline(root: str) -> None:
        path = Path(sys.argv[sys.argv.index("-opt") + 1])
        given.update(root=root, argv=list(sys.argv), options=yaml.safe_load(path.read_text()))

    monkeypatch.setattr(sys.modules["basicsr.train"], "train_pipeline", train_pipeline)
    return given


def test_the_train_file_of_that_name_is_taken(seen: dict[str, Any], tmp_path: Path) -> None:
    assert main(["train", "-opt", "compsrt_x4_3bit.yml", "--auto_resume"]) == 0
    assert seen["root"] == str(tmp_path)
    assert "--auto_resume" in seen["argv"]
    assert seen["options"]["train"]["total_iter"] == 300


def test_the_quick_preset_shortens_the_schedule_and_gives_way_to_what_is_typed(seen: dict[str, Any]) -> None:
    assert main(["train", "-opt", "compsrt_x2_3bit", "--preset", "quick", "--force_yml", "val:val_freq=7"]) == 0
    options = seen["options"]
    assert options["train"]["total_iter"] == 80
    assert options["train"]["scheduler"] == {"type": "CosineAnnealingRestartLR"}
    assert options["datasets"]["train"]["gt_size"] == 64
    assert options["val"]["val_freq"] == 7


def test_debug_is_a_short_run_and_gives_way_to_what_is_typed(seen: dict[str, Any]) -> None:
    assert main(["train", "-opt", "compsrt_x4_3bit.yml", "--debug"]) == 0
    assert seen["options"]["train"]["total_iter"] == 16
    assert seen["options"]["quant"]["calibration"]["patches"] == 2
    assert main(["train", "-opt", "swinir_light_x4_teacher.yml", "--debug", "--force_yml", "train:total_iter=9"]) == 0
    assert seen["options"]["train"]["total_iter"] == 9 and "quant" not in seen["options"]


def test_blocks_that_the_file_leaves_out_can_be_set(seen: dict[str, Any]) -> None:
    assert main(["train", "-opt", "compsrt_x4_2bit", "--force_yml", "distill:feature_weight=2"]) == 0
    assert seen["options"]["distill"] == {"feature_weight": 2}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("distill:feature_wieght=2", r"unknown key in distill: 'feature_wieght'.*did you mean 'feature_weight'"),
        ("quant:calibration:patches=0", r"quant\.calibration\.patches is 0; allowed: (integers|whole numbers) from 1"),
        ("datasets:train:type=None", r"datasets\.train\.type is None; allowed: text"),
        ("train:total_iter=many", r"train\.total_iter is 'many'; allowed: (integers|whole numbers) from 0"),
        ("prune:hook=magnitud", r"prune\.hook: 'magnitud'.*did you mean 'magnitude'"),
        ("prune:ratio=1.5", r"prune\.ratio is 1\.5"),
    ],
)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(
    entry: str, says: str, seen: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-opt", "compsrt_x4_3bit", "--force_yml", entry]) == 2
    err = capsys.readouterr().err
    assert re.search(says, err), err
    assert err.count("\n") == 1
    assert not seen
    assert list(tmp_path.iterdir()) == []


def test_a_test_file_is_not_trained(seen: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from compsrt_plugin.config.files import option_files

    assert main(["train", "-opt", str(option_files("test")["compsrt_x4_3bit"])]) == 2
    assert "has no block 'train'; is it meant for `basicsr test" in capsys.readouterr().err
    assert not seen


def test_an_experiments_folder_that_cannot_be_written_stops_before_the_start(
    seen: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiments").write_text("a file")
    assert main(["train", "-opt", "compsrt_x4_3bit"]) == 2
    assert "experiments is not a folder" in capsys.readouterr().err
    assert not seen
