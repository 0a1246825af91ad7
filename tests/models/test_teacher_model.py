"""`basicsr train` with `CompSRTTeacherModel` trains in full precision what other commands then start from."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.archs.swinir_arch import SwinIR
from safetensors import safe_open
from training import tiny_run

from compsrt_plugin.cli.main import main
from compsrt_plugin.packed import load_weights
from compsrt_plugin.training.trainer import Trainer

from .test_compsrt_model import folder, one_thread  # noqa: F401  (fixtures)

TEACHER = {
    "model_type": "CompSRTTeacherModel",
    "quant": None,
    "path__pretrain_network_g": None,
    "train__optim_g__lr": 1e-3,
    "train__total_iter": 4,
    "train__ema_decay": 0.5,
    "val__val_freq": 2,
}


@pytest.fixture(autouse=True)
def quiet(folder: Path, one_thread: None) -> Iterator[None]:  # noqa: F811
    yield


def train(*flags: str, **changes: Any) -> int:
    return main(["train", "-opt", str(tiny_run.write_options(Path(), **{**TEACHER, **changes})), *flags])


def result() -> Path:
    return Path("experiments/tiny/models/tiny.safetensors")


def sha256() -> str:
    return hashlib.sha256(result().read_bytes()).hexdigest()


def write_stronger(path: str, scale: int) -> None:
    """Write a file as SwinIR's authors do, by whose buffers spandrel knows it."""
    size = {"depths": [2, 2], "num_heads": [6, 6], "embed_dim": 60, "img_size": 16, "window_size": 8, "mlp_ratio": 2}
    torch.save({"params": SwinIR(upscale=scale, upsampler="pixelshuffledirect", **size).state_dict()}, path)


def test_the_result_is_plain_weights_that_quantization_starts_from():
    assert train() == 0
    with safe_open(result(), "pt") as file:
        provenance = json.loads(file.metadata()["provenance"])
    assert (provenance["iterations"], provenance["chosen"]["by"]) == (4, "holdout PSNR")
    weights = result().rename("weights.safetensors")
    quantize = {**TEACHER, "model_type": "CompSRTModel", "quant": {"recipe": "minmax", "calibration": {"patches": 1}}}
    quantize["quant"]["calibration"]["patch_size"] = 16
    quantize |= {"path__pretrain_network_g": str(weights), "train__total_iter": 0, "name": "quantized"}
    assert train(**quantize) == 0
    assert Path("experiments/quantized/models/quantized.safetensors").is_file()


def test_training_lowers_the_loss(monkeypatch: pytest.MonkeyPatch):
    losses = []
    step = Trainer.step

    def noted(self: Trainer, *args: Any) -> dict[str, float]:
        values = step(self, *args)
        losses.append(values)
        return values

    monkeypatch.setattr(Trainer, "step", noted)
    assert train(train__total_iter=16, val=None, path__pretrain_network_g="teacher.pth") == 0
    assert set(losses[0]) == {"target", "total"}
    assert sum(v["total"] for v in losses[-4:]) < sum(v["total"] for v in losses[:4])


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(monkeypatch: pytest.MonkeyPatch):
    assert train() == 0
    wanted = sha256()
    step, done = Trainer.step, []

    def stopped(self: Trainer, *args: Any) -> dict[str, float]:
        done.append(self.iteration)
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args)

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(SystemExit) as stop:
        train()
    assert stop.value.code == 128 + signal.SIGTERM and done == [0, 1, 2]
    assert train("--auto_resume") == 0
    assert done == [0, 1, 2, 3]  # it did not start anew
    assert sha256() == wanted


def test_another_scale_starts_from_the_body_with_a_fresh_upsampler(capsys: pytest.CaptureFixture[str]):
    network = {**tiny_run.NETWORK, "upscale": 2}
    changes = {"scale": 2, "network_g": network, "datasets__train__gt_size": 32, "train__total_iter": 0}
    assert train(path__pretrain_network_g="teacher.pth", **changes) == 0
    assert "these start at random: upsample.0.weight, upsample.0.bias" in capsys.readouterr().err
    found, body = load_weights(result()), load_weights("teacher.pth")
    same = [name for name in found if torch.equal(found[name], body[name])]
    assert set(found) - set(same) == {"upsample.0.weight", "upsample.0.bias"}


def test_weights_of_another_network_are_refused(capsys: pytest.CaptureFixture[str]):
    torch.save({"params": {"conv.weight": torch.zeros(1)}}, "other.pth")
    assert train(path__pretrain_network_g="other.pth") == 2
    assert "other.pth: none of its 1 tensors fits CompSRTSwinIR" in capsys.readouterr().err


def test_it_learns_from_a_stronger_network_too(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("spandrel")
    write_stronger("stronger.pth", scale=4)
    terms = []
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda *args: terms.append(step(*args)) or terms[-1])
    assert train(path__pretrain_network_teacher="stronger.pth", train__total_iter=1, val=None) == 0
    assert set(terms[0]) == {"output", "target", "total"}


def test_a_stronger_network_of_another_scale_is_refused(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("spandrel")
    write_stronger("other.pth", scale=2)
    assert train(path__pretrain_network_teacher="other.pth") == 2
    assert "path.pretrain_network_teacher is a x2 network; allowed: x4" in capsys.readouterr().err


def test_the_stronger_network_may_enlarge_the_whole_images_once(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("spandrel")
    write_stronger("stronger.pth", scale=4)
    seen = []
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda *args: seen.append((args, step(*args))) or seen[-1][1])
    once = {"train__teacher_once": True, "datasets__train__keep_in_memory": True}
    assert train(path__pretrain_network_teacher="stronger.pth", train__total_iter=1, val=None, **once) == 0
    ((training, _, lq, gt, target), losses) = seen[0]
    assert training.distillation.teacher is None and target.shape == gt.shape != lq.shape
    assert set(losses) == {"output", "target", "total"}


def test_mixed_precision_trains_and_the_weights_stay_in_full_precision():
    assert train(train__precision="bf16", train__total_iter=1) == 0
    assert {value.dtype for value in load_weights(result()).values()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train__precision": "fp16"}, "unknown train.precision: 'fp16'; allowed: bf16, fp32, tf32"),
        (
            {"train__teacher_once": True},
            "train.teacher_once is true; allowed: with path.pretrain_network_teacher and keep_in_memory: true",
        ),
        ({"train__compile": "yes"}, "train.compile is 'yes'; allowed: true or false"),
        ({"quant": {"bits": 3}}, "CompSRTTeacherModel trains in full precision; drop the block quant:"),
    ],
)
def test_what_it_cannot_do_is_one_line(changes: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]):
    assert train(**changes) == 2
    assert said in capsys.readouterr().err
    assert not Path("experiments").exists()


def test_a_validation_set_named_as_a_test_set_gets_a_warning(capsys: pytest.CaptureFixture[str]):
    assert train(train__total_iter=0, datasets__val__name="Set5") == 0
    assert capsys.readouterr().err.count("Validation set Set5 is a test set") == 1
