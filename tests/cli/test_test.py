"""`basicsr test` hands a checked option file to BasicSR; a bad one stops it before anything is written."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import compsrt_plugin
from compsrt_plugin.cli.main import main
from compsrt_plugin.cli.run_lock import run_lock
from compsrt_plugin.config.files import option_files
from compsrt_plugin.errors import CompSRTError

INSTALLED = option_files("test")["compsrt_x4_3bit"]


class Pipeline:
    """Stands in for `basicsr.test.test_pipeline` and keeps what it was given."""

    def __init__(self) -> None:
        self.argv: list[str] = []
        self.text = ""
        self.root = ""

    def __call__(self, root: str) -> None:
        self.argv, self.root = list(sys.argv), root
        self.text = Path(self.argv[self.argv.index("-opt") + 1]).read_text()

    @property
    def options(self) -> dict[str, Any]:
        return yaml.safe_load(self.text)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pipeline]:
    compsrt_plugin.register()
    monkeypatch.chdir(tmp_path)
    stand_in = Pipeline()
    monkeypatch.setattr(sys.modules["basicsr.test"], "test_pipeline", stand_in)
    yield stand_in


def test_an_installed_name_reaches_basicsr_unchanged_with_its_comments(pipeline: Pipeline, tmp_path: Path) -> None:
    before = list(sys.argv)
    assert main(["test", "-opt", "compsrt_x4_3bit.yml"]) == 0
    assert pipeline.text == INSTALLED.read_text()
    assert Path(pipeline.argv[2]).name == "compsrt_x4_3bit.yml"
    assert pipeline.root == str(tmp_path)
    assert sys.argv == before
    assert not Path(pipeline.argv[2]).exists()


def test_basicsr_notes_down_the_words_that_were_typed(pipeline: Pipeline) -> None:
    main(["test", "-opt", "compsrt_x4_3bit", "--force_yml", "quant:bits=2"])
    assert pipeline.argv[0].startswith("basicsr test -opt compsrt_x4_3bit --force_yml quant:bits=2  #")


def test_basicsrs_flags_keep_their_meaning(pipeline: Pipeline) -> None:
    main(["test", "-opt", str(INSTALLED), "--launcher", "none", "--debug", "--auto_resume", "--local_rank", "1"])
    assert pipeline.argv[3:] == ["--launcher", "none", "--auto_resume", "--debug", "--local_rank", "1"]


def test_force_yml_changes_what_basicsr_reads(pipeline: Pipeline) -> None:
    forced = ["quant:bits=2", "quant:activation:search=minmax", "val:save_img=false", "name=mine"]
    assert main(["test", "-opt", "compsrt_x4_3bit", "--force_yml", *forced]) == 0
    given = yaml.safe_load(INSTALLED.read_text())["quant"]
    assert pipeline.options["quant"] == {**given, "bits": 2, "activation": {"search": "minmax"}}
    assert pipeline.options["val"]["save_img"] is False
    assert list(pipeline.options)[:2] == ["name", "model_type"]


def test_strict_data_is_asked_of_every_data_set(pipeline: Pipeline) -> None:
    main(["test", "-opt", "compsrt_x4_3bit", "--strict-data"])
    assert all(dataset["strict_data"] for dataset in pipeline.options["datasets"].values())


def test_numbers_that_only_our_reader_understands_reach_basicsr_as_numbers(pipeline: Pipeline, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text(INSTALLED.read_text().replace("img_range: 1.", "img_range: 1e-4"))
    main(["test", "-opt", str(mine)])
    assert pipeline.options["network_g"]["img_range"] == 1e-4


BAD = {
    "no such file": (
        ["-opt", "compsrt_x5_3bit.yml"],
        r"no option file 'compsrt_x5_3bit.yml'.*nearest names: compsrt_x",
    ),
    "broken YAML": ("name: [a\n", r"bad\.yml, line 2, column 1"),
    "a tag that runs code": (
        "a: !!python/object/apply:os.mkdir [sprung]",
        r"line 1, column 4: the tag .* not allowed",
    ),
    "unknown key": (["quant:bit=3"], r"unknown key in quant: 'bit'.*did you mean 'bits'"),
    "unknown key deeper": (["quant:weight:bit=3"], r"unknown key in quant\.weight: 'bit'"),
    "1 bit": (["quant:bits=1"], r"quant\.bits is 1; allowed: 2 to 8"),
    "9 bits": (["quant:bits=9"], r"quant\.bits is 9; allowed: 2 to 8"),
    "unknown recipe": (["quant:recipe=comsrt"], r"quant\.recipe: 'comsrt'.*did you mean 'compsrt'"),
    "unknown search": (["quant:weight:search=dobie"], r"quant\.weight\.search: 'dobie'.*did you mean 'dobi'"),
    "a block for training": (["prune:ratio=0.5"], r"the key 'prune', which only basicsr train would read"),
    "wrong block": (["quont:bits=3"], r"unknown key in --force_yml 'quont:bits=3'.*did you mean 'quant'"),
    "unknown model": (["model_type=CompSRModel"], r"model_type: 'CompSRModel'.*did you mean 'CompSRTModel'"),
    "unknown arch": (["network_g:type=CompSRTSwinir"], r"network_g\.type: .*did you mean 'CompSRTSwinIR'"),
    "unknown data set type": (["datasets:test_1:type=Paired"], r"datasets\.test_1\.type: 'Paired'"),
    "unknown metric": (["val:metrics:psnr:type=psnr"], r"val\.metrics\.psnr\.type: 'psnr'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(
    case: str, pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, says = BAD[case]
    if isinstance(given, str):
        (tmp_path / "bad.yml").write_text(given)
        argv = ["-opt", "bad.yml"]
    else:
        argv = given if given[0] == "-opt" else ["-opt", "compsrt_x4_3bit", "--force_yml", *given]
    assert main(["test", *argv]) == 2
    err = capsys.readouterr().err
    assert err.startswith("basicsr: error: ")
    assert err.count("\n") == 1
    assert re.search(says, err), err
    assert not pipeline.argv, "the pipeline has not started"
    assert {path.name for path in tmp_path.iterdir()} <= {"bad.yml"}


def test_a_launcher_that_is_not_there_is_named(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert main(["test", "-opt", "compsrt_x4_3bit", "--launcher", "pytorch"]) == 2
    assert "RANK is not set in the environment; start with: torchrun" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_stops_before_the_start(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("a file")
    assert main(["test", "-opt", "compsrt_x4_3bit"]) == 2
    assert "results is not a folder" in capsys.readouterr().err
    assert not pipeline.argv


def test_a_mistake_found_late_leaves_the_earlier_results_as_they_were(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from basicsr.utils.misc import mkdir_and_rename

    results = tmp_path / "results" / "compsrt_x4_3bit"
    results.mkdir(parents=True)
    (results / "results.json").write_text("{}")

    def fail(root: str) -> None:
        mkdir_and_rename(str(results))  # what BasicSR does first
        (results / "test.log").write_text("log")
        raise CompSRTError("the checkpoint is damaged")

    monkeypatch.setattr(sys.modules["basicsr.test"], "test_pipeline", fail)
    assert main(["test", "-opt", "compsrt_x4_3bit"]) == 2
    assert [path.name for path in (tmp_path / "results").rglob("*")] == ["compsrt_x4_3bit", "results.json"]


def test_a_second_run_of_a_name_is_refused_while_the_first_goes_on(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_lock(tmp_path / "results" / "compsrt_x4_3bit"):
        assert main(["test", "-opt", "compsrt_x4_3bit"]) == 2
        assert "another run writes to" in capsys.readouterr().err
        assert not pipeline.argv
        assert main(["test", "-opt", "compsrt_x4_3bit", "--force_yml", "name=other"]) == 0
    assert main(["test", "-opt", "compsrt_x4_3bit"]) == 0
