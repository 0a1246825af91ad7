"""A packed network described for the Hugging Face Hub and for OpenModelDB."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import yaml
from small_networks import save, small_network

import compsrt_plugin as csr
from compsrt_plugin.cli.main import main
from compsrt_plugin.packed.bundled import checkpoint_path
from compsrt_plugin.report import FileRecord, Results, Score, write_results

SCORES = {"quantized": Score(30.123456, 0.85), "bicubic": Score(28.0, 0.8), "teacher": Score(30.5, 0.86)}
ENTRY = ["--author", "your-id", "--url", "https://host/releases/"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("network") / "mine.safetensors", small_network())


@pytest.fixture(autouse=True)
def packed(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packed file and the results of its test, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = Path(shutil.copy(source, "mine.safetensors"))
    results = Results("mine", 4, 3, path.stat().st_size, 10**6, "reflect", {}, "strict", "compsrt", False)
    results.files["checkpoint"] = FileRecord.of(path)
    results.add_image("Set5", "baby.png", **SCORES)
    results.add_image("Same", "same.png", quantized=Score(float("inf"), 1.0))
    Path("results/mine").mkdir(parents=True)
    write_results(results, "results/mine/results.json")
    Path("mine.onnx").write_bytes(b"a graph")
    return path


def card() -> dict[str, Any]:
    text = Path("repository/README.md").read_text()
    return yaml.safe_load(re.match("---\n(.*?)---\n", text, re.DOTALL)[1])  # type: ignore[index]


def test_the_commands_of_the_page_run() -> None:
    for command in pages.commands(pages.read("docs/publish.md")):
        assert main(command) == 0
    for example in pages.blocks(pages.read("docs/publish.md"), "python"):
        pages.run(example)


def test_a_repository_loads_back_as_the_same_network(packed: Path) -> None:
    assert main(["export", "mine.safetensors", "--hub", "repository"]) == 0
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    wanted = csr.load(packed).upscale(image)
    for source in ("repository", Path("repository"), "repository/model.safetensors"):
        np.testing.assert_array_equal(csr.load(source).upscale(image), wanted)
    assert main(["report", "repository"]) == 0


def test_the_card_has_the_fields_of_the_hub(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--license", "apache-2.0", "--results", "results/mine/results.json"]
    assert main(["export", "mine.safetensors", "--hub", "repository", *options]) == 0
    assert "license" not in capsys.readouterr().out
    about = card()
    assert (about["license"], about["pipeline_tag"]) == ("apache-2.0", "image-to-image")
    assert {"super-resolution", "swinir", "x4", "3-bit"} <= set(about["tags"])
    (index,) = about["model-index"]
    result, same = index["results"]
    assert [m["type"] for m in same["metrics"]] == ["ssim"] and same["task"] == result["task"]
    assert "&id" not in Path("repository/README.md").read_text()
    assert result["dataset"] == {"name": "Set5", "type": "set5"}
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [("psnr", 30.1235), ("ssim", 0.85)]
    assert "| Set5 | 1 | 28.00 / 0.8000 | 30.50 / 0.8600 | 30.12 / 0.8500 |" in Path("repository/README.md").read_text()
    config = json.loads(Path("repository/config.json").read_text())
    assert (config["architecture"], config["scale"], config["bits"]) == ("SwinIR", 4, 3)


def test_a_card_without_license_or_scores_says_nothing_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "mine.safetensors", "--hub", "repository"]) == 0
    assert "names no license" in capsys.readouterr().out
    assert card().keys() == {"library_name", "pipeline_tag", "tags"}


def test_the_file_of_a_repository_holds_the_same_network() -> None:
    source = checkpoint_path(2, 2)
    assert main(["export", str(source), "--hub", "repository"]) == 0
    assert Path("repository/model.safetensors").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hub", "r", "--author", "me"], "--author is given; allowed: with --openmodeldb"),
        (["--out", "x.safetensors", "--license", "MIT"], "--license is given; allowed: with --hub or --openmodeldb"),
        (["--hub", "r", "--dense"], "--dense and --hub are both given"),
        (["--openmodeldb", "m"], "--openmodeldb needs --author and --url"),
        (["--openmodeldb", "m", "--author", "Me!", "--url", "https://x"], "the author is 'Me!'; allowed: lower-case"),
        (["--openmodeldb", "m", "--author", "me", "--url", "x"], "the URL is 'x'; allowed: http:// or https://"),
        (["--openmodeldb", "m", *ENTRY, "--onnx-file", "none.onnx"], "none.onnx cannot be offered; allowed: existing"),
        (["--openmodeldb", "m", *ENTRY, "--license", "my own"], "the license is 'my own'; allowed: an SPDX identifier"),
        (["--hub", "r", "--results", "none.json"], "cannot read none.json"),
        (["--hub", "mine.safetensors"], "cannot write mine.safetensors"),
    ],
)
def test_what_cannot_be_written_is_one_line(options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "mine.safetensors", *options]) == 2
    assert says in capsys.readouterr().err
    assert not Path("m").exists() and not Path("r").exists()


def test_scores_of_another_file_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--hub", "r", "--results", "results/mine/results.json"]
    assert main(["export", str(checkpoint_path(2, 2)), *options]) == 2
    assert "the results are those of mine.safetensors, not of" in capsys.readouterr().err
