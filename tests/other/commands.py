"""Commands on a device beside the CPU: each runs to its end there, and finds what it finds on the CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from other.device import NAME
from places import Place
from training import tiny_run
from training.running import train

import compsrt_plugin
from compsrt_plugin.analysis.profile import profiling
from compsrt_plugin.cli.main import main
from compsrt_plugin.engine import engine_available
from compsrt_plugin.quant import Quantizer
from compsrt_plugin.quant.passes import conditioning
from compsrt_plugin.report.results import METHODS

compsrt_plugin.register()

from basicsr.models.base_model import BaseModel  # noqa: E402


@pytest.fixture
def other(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """BasicSR's models are on the other device, as they are on a GPU where there is one."""
    monkeypatch.setattr(BaseModel, "device", property(lambda self: device, lambda self, _: None), raising=False)
    return device


@pytest.fixture
def default(other: torch.device) -> Iterator[None]:
    """What says no device is on the other one, as after torch.set_default_device in a script of the user's."""
    torch.set_default_device(other)
    yield
    torch.set_default_device(None)


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Where quantizers got tensors."""
    found: set[str] = set()
    forward = Quantizer.forward

    def noting(self: Quantizer, x: torch.Tensor) -> torch.Tensor:
        found.add(x.device.type)
        return forward(self, x)

    monkeypatch.setattr(Quantizer, "forward", noting)
    return found


def scores(folder: str, data: str) -> dict[str, Any]:
    found = json.loads(Path(folder, "results.json").read_text())["datasets"][data]
    return {method: score for method, score in found.items() if method in METHODS}


def test_test(place: Place, other: torch.device, devices: set[str]):
    flags = ["--engine"] if engine_available() else []
    assert place.run("test", *flags) == 0
    assert devices == {NAME}
    found = scores("results/run", "Mine")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(BaseModel, "device", torch.device("cpu"))
        assert place.run("test", *flags) == 0
    wanted = scores("results/run", "Mine")
    assert found.keys() == wanted.keys() and len(found) >= 3
    for method, score in wanted.items():
        assert found[method]["psnr"] == pytest.approx(score["psnr"], abs=0.05), method


@pytest.mark.parametrize("recipe", ["plus", "condiquant"])
def test_train(place: Place, other: torch.device, devices: set[str], recipe: str, monkeypatch: pytest.MonkeyPatch):
    """`plus` equalizes, guards, rounds and corrects a bias; `condiquant` conditions the weights."""
    monkeypatch.setattr(conditioning, "ROUNDS", 2)
    place.train["quant"]["recipe"] = recipe
    place.train["prune"] = {"hook": "magnitude", "ratio": 0.25}
    assert place.run("train", "--force_yml", "train:total_iter=2") == 0
    assert devices == {NAME}


def test_training_finds_what_it_finds_on_the_cpu_and_goes_on(
    tmp_path: Path, other: torch.device, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    tiny_run.write_inputs(tmp_path)
    assert train(tmp_path) == 0
    found = scores("experiments/tiny", "Holdout")
    assert train(tmp_path, "--auto_resume", train__total_iter=8) == 0
    monkeypatch.setattr(BaseModel, "device", torch.device("cpu"))
    assert train(tmp_path, name="here") == 0
    wanted = scores("experiments/here", "Holdout")
    assert found["quantized"]["psnr"] == pytest.approx(wanted["quantized"]["psnr"], abs=0.05)


def test_a_teacher_is_trained(tmp_path: Path, other: torch.device, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    tiny_run.write_inputs(tmp_path)
    assert train(tmp_path, model_type="CompSRTTeacherModel", quant=None) == 0


def test_upscale_profile_and_report_compute_on_the_cpu(
    place: Place, default: None, devices: set[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(profiling, "RUNTIMES", ())  # others' code, and processes of their own: a matter of time only
    monkeypatch.setattr(profiling, "peak_bytes", lambda *_: 0)
    packed = str(place.files["packed"])
    assert main(["upscale", "LR", "-o", "out", "--model", packed]) == 0
    assert main(["profile", packed, "--size", "16x16", "--runs", "1", "--batch", "1", "--threads", "1"]) == 0
    assert main(["report", packed, "--sensitivity", "2"]) == 0
    assert main(["export", packed, "--dense", "--out", "dense.pth"]) == 0
    assert devices == {"cpu"}
