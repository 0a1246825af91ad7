"""`basicsr analyze` finds the network, writes everything, and says what it found."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import pytest
from places import Place

from compsrt_plugin.analysis.tensors import end_to_end, plots
from compsrt_plugin.cli.main import main

FILES = {"analysis.json", "summary.json", "places.csv", "summary.md"}
PICTURES = {"histograms.png", "range_by_depth.png", "error_by_place.png"}
DRAWN = importlib.util.find_spec("matplotlib") is not None


def summary(folder: str) -> dict:
    return json.loads(Path(folder, "summary.json").read_text())


def test_a_train_file_is_analyzed_on_its_calibration_patches(place: Place, capsys: pytest.CaptureFixture[str]):
    place.train["quant"]["overrides"] = {"*.mlp.*": {"keep": True}}
    place.write("train")
    assert main(["analyze", "-opt", "options.yml", "--walk", str(place.lr)]) == 0
    folder = Path("results/analyze_run")
    assert {path.name for path in folder.iterdir()} == FILES | (PICTURES | {"walk.png"} if DRAWN else set())
    found = json.loads((folder / "analysis.json").read_text())
    # two Swin blocks, without their MLPs: weights of q, k, v and proj; q, k and v share an input
    assert found["counts"] == {"weight": 8, "input": 4, "q": 2, "k": 2, "v": 2, "map": 2}
    assert found["about"]["pictures"] == "1 random patches of 8 x 8 pixels from Mine"
    assert found["about"]["weights"] == "teacher_x4.safetensors"
    assert found["about"]["command"] == "basicsr analyze options.yml --walk LR/px4.png"
    assert set(found["comparisons"]) == {
        "hadamard", "hadamard_softmax", "hadamard_signed", "hadamard_exact", "hadamard_block",
    }  # fmt: skip
    assert found["walk"]["network"] == "plus at 3 bits, bounds searched, nothing trained"
    assert all(0 < step["total"] <= 200 for step in found["walk"]["steps"])
    out = capsys.readouterr().out
    assert [verdict["sentence"] in out for verdict in found["verdicts"]] == [True] * 12
    with (folder / "places.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(one["domains"]) for one in found["places"])
    assert {row["transform"] for row in rows if row["role"] == "map"} == {"none", *found["comparisons"]}
    text = (folder / "summary.md").read_text()
    assert text.startswith("# run: what the Hadamard transform does to it\n") and "Holm" in text


def test_of_a_packed_file_the_activations_alone_and_always_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    for folder in ("a", "b"):
        assert main(["analyze", str(place.files["packed"]), "--images", "LR", "--out", folder]) == 0
    assert {path.name for path in Path("a").iterdir()} == FILES
    for name in FILES:
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()
    found = summary("a")
    assert "weight" not in found["counts"] and found["counts"]["input"] == 8
    assert found["about"]["notes"] == [
        "The weights of a packed file are codes. Only activations are analyzed, with decoded weights."
    ]
    told = capsys.readouterr()
    assert "Activations, " in told.out and "Weights, " not in told.out
    assert "no charts: matplotlib is not installed; pip install 'compsrt_plugin[plot]'" in told.err


def test_a_walk_through_the_packed_network_of_a_test_file(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(end_to_end, "describe_places", lambda gathered, progress: [])
    place.write("test")
    assert main(["analyze", "-opt", "options.yml", "--images", "LR", "--walk", str(place.lr), "--out", "found"]) == 0
    walk = summary("found")["walk"]
    assert [step["name"] for step in walk["steps"]] == [f"layers.0.residual_group.blocks.{n}" for n in (0, 1)]
    assert walk["network"] == "packed.safetensors, 3 bits"
    assert "signal to noise" in capsys.readouterr().out
    assert Path("found/walk.png").is_file() == DRAWN


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "no network is given; allowed: one option file, packed file or weight file"),
        (["a.pth", "-opt", "b.yml"], "both b.yml and a.pth are given"),
        (["none.pth"], "no such file: none.pth"),
        (["a.pth", "--patches", "0"], "--patches is 0; allowed: 1 or more"),
        (["a.pth", "--seed", "-1"], "--seed is -1; allowed: 0 or more"),
        (["PACKED", "--force_yml", "scale=2"], "--force_yml changes option files"),
        (["PACKED", "--images", "nowhere"], "cannot read the image folder nowhere"),
        (["PACKED", "--images", "LR", "--walk", "none.png"], "none.png"),
        (["PACKED", "--images", "LR", "--walk", "LR/px4.png"], "does not record the network that it was made from"),
    ],
)
def test_a_mistake_is_one_line(place: Place, capsys: pytest.CaptureFixture[str], argv: list[str], says: str):
    argv = [str(place.files["packed"]) if word == "PACKED" else word for word in argv]
    assert main(["analyze", *argv]) == 2
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if " INFO: " not in line]  # of a log that an earlier test set up
    assert says in line


def test_help_teaches_by_examples(capsys: pytest.CaptureFixture[str]):
    assert main(["analyze", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.count("\n  basicsr analyze ") >= 4 and "compsrt_plugin[plot]" in text
