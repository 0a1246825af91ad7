"""`basicsr profile` measures every way and answers what the transform and the mask cost."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image
from small_networks import save, small_network

from compsrt_plugin.analysis.profile import profiling, runtimes
from compsrt_plugin.analysis.profile.profile_table import warnings
from compsrt_plugin.analysis.profile.stages import PROFILE_STAGES
from compsrt_plugin.analysis.profile.timing import Timing
from compsrt_plugin.cli.main import main
from compsrt_plugin.engine import engine_available
from compsrt_plugin.errors import CompSRTError

QUICK = ["--size", "12x16", "--batch", "2", "1", "--threads", "1", "--runs", "2"]


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has tests of its own."""
    monkeypatch.setattr(profiling, "peak_bytes", lambda *_: 12_000_000)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither ONNX Runtime nor OpenVINO is installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        runtimes.importlib.util, "find_spec", lambda n: None if n in ("onnx", "openvino", "onnxruntime") else find(n)
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    pruning = {"hook": "magnitude", "ratio": 0.4}
    return {
        "whole": save(folder / "whole.safetensors", small_network()),
        "pruned": save(folder / "pruned.safetensors", small_network(pruning=pruning)),
    }


def test_json_has_every_way_and_the_costs(files, capsys: pytest.CaptureFixture[str]):
    assert main(["profile", str(files["pruned"]), *QUICK, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = {"eager", "simulated"}
    expected |= {"engine"} if engine_available() else set()
    expected |= {
        n for n in ("onnxruntime", "openvino") if importlib.util.find_spec(n) and importlib.util.find_spec("onnx")
    }
    assert set(found["ways"]) == expected
    assert {key for key in found if key.endswith("_ms")} == {f"{name}_ms" for name in expected}
    assert (found["size"], found["batch"], found["threads"]) == ([16, 16], 1, 1)
    for name, way in found["ways"].items():
        assert set(way["stages_ms"]) == set(PROFILE_STAGES) and way["peak_bytes"] == 12_000_000
        assert sum(way["stages_ms"].values()) == pytest.approx(found[f"{name}_ms"])
    timings = {(t["way"], t["batch"]): t for t in found["timings"]}
    assert len(timings) == len(found["timings"]) == 2 * len(expected)
    one = timings["eager", 1]
    assert one["p5_ms"] <= one["median_ms"] <= one["p95_ms"] and one["median_ms"] == found["eager_ms"]
    assert timings["eager", 2]["images_per_second"] == pytest.approx(2e3 / timings["eager", 2]["median_ms"])
    assert one["megapixels_per_second"] == pytest.approx(one["images_per_second"] * 64 * 64 / 1e6)
    ours = expected & {"simulated", "engine"}
    assert found["pruned_share"] == pytest.approx(0.4, abs=1e-3)
    assert set(found["mask"]) == set(found["transform"]) == ours
    for way in ours:
        assert found["mask"][way]["without_ms"] > 0
        assert found["transform"][way]["stage_ms"] > 0 and found["transform"][way]["without_ms"] > 0


def test_the_table_says_what_is_missing_and_what_things_cost(files, alone, capsys: pytest.CaptureFixture[str]):
    assert main(["profile", str(files["pruned"]), *QUICK]) == 0
    text = capsys.readouterr().out
    assert "openvino: not installed: pip install onnx openvino" in text
    assert "PyTorch eager fp32" in text and "batch 2, threads 1" in text and "transform  quantize  products" in text
    assert "Transform, simulated: " in text and "end to end it costs" in text
    assert "40.0% of the weights in its pruned layers are zero" in text and "so the mask costs" in text


def test_a_network_that_is_not_pruned_has_no_mask_to_pay_for(files, alone, capsys: pytest.CaptureFixture[str]):
    assert main(["profile", str(files["whole"]), *QUICK]) == 0
    assert "is not pruned and has no mask" in capsys.readouterr().out


def test_without_the_engine_the_rest_is_measured(files, alone, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(profiling, "engine_way", lambda *_, **__: "the engine is missing")
    assert main(["profile", str(files["whole"]), *QUICK, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "engine_ms" not in found and found["missing"]["engine"] == "the engine is missing"


def test_memory_that_cannot_be_measured_is_said(files, alone, monkeypatch, capsys: pytest.CaptureFixture[str]):
    def fail(way: str, *_: object) -> int:
        raise CompSRTError("ended with -9")

    monkeypatch.setattr(profiling, "peak_bytes", fail)
    assert main(["profile", str(files["whole"]), *QUICK]) == 0
    text = capsys.readouterr().out
    assert "memory of simulated: ended with -9" in text


def test_a_picture_shows_the_stages(files, alone, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["profile", str(files["whole"]), *QUICK, "--out", str(tmp_path / "stages.png")]) == 0
    with Image.open(tmp_path / "stages.png") as picture:
        assert picture.width == 1280 and len(picture.getcolors(1 << 24) or ()) > 8


def profile_of(seconds: tuple[float, ...], load: float) -> profiling.Profile:
    found = profiling.Profile(Path("x"), 4, 3, (8, 8), (1, 1), labels={"eager": "PyTorch"}, load=load, cores=2)
    found.timings["eager", (1, 1)] = Timing(seconds)
    return found


def test_a_busy_machine_is_warned_of_and_one_at_rest_is_not():
    assert warnings(profile_of((0.1, 0.1, 0.1, 0.11), 0.2)) == []
    scattered = warnings(profile_of((0.1, 0.1, 0.1, 4.9), 0.2))
    assert (
        scattered[0].startswith("Warning: the rounds scatter (PyTorch 100.0 to ")
        and "are not reliable" in scattered[-1]
    )
    loaded = warnings(profile_of((0.1, 0.1, 0.1, 0.11), 6.0))
    assert loaded[0] == "Warning: 6.0 processes ran before the start, on 2 cores."


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["none.safetensors"], "no such file: none.safetensors"),
        (["net.safetensors", "--size", "64"], "--size is '64'"),
        (["net.safetensors", "--batch", "0"], "--batch is 0; allowed: 1 to 256"),
        (["net.safetensors", "--threads", "2", "999"], "--threads is 999"),
        (["net.safetensors", "--runs", "0"], "--runs is 0"),
        (["net.safetensors", "--out", "stages.jpg"], "--out stages.jpg ends in .jpg; allowed: .png"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, monkeypatch, capsys, argv: list[str], says: str):
    monkeypatch.chdir(tmp_path)
    assert main(["profile", *argv]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_help_teaches_by_examples(capsys: pytest.CaptureFixture[str]):
    assert main(["profile", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.count("\n  basicsr profile ") >= 4 and "engine_ms" in text
