"""`basicsr train` calibrates, chooses by held-out images, stops when asked and goes on to the same bits."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from training import tiny_run
from training.running import disturbed, packed, sha256, states, train

from compsrt_plugin.packed import read_packed
from compsrt_plugin.quant.passes.bias_correction import BiasCorrection
from compsrt_plugin.training.trainer import Trainer


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Bits are compared, and threads that wait for each other cost more than they bring here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_logger: None) -> Path:
    tiny_run.write_inputs(tmp_path)
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_says_how_it_was_made_and_chosen(folder: Path):
    assert train(folder) == 0
    provenance = read_packed(packed(folder)).header["provenance"]
    results = json.loads((folder / "experiments" / "tiny" / "results.json").read_text())
    chosen = provenance["chosen"]
    assert (provenance["iterations"], provenance["weights_trained"]) == (6, False)
    assert chosen["by"] == "holdout PSNR"
    assert chosen["iteration"] in (3, 6), "calibration brought something"
    assert chosen["value"] == results["datasets"]["Holdout"]["quantized"]["psnr"], "what was judged is what was kept"
    assert results["datasets"]["Holdout, bounds only"]["quantized"]["psnr"] < chosen["value"]
    assert (folder / "experiments" / "tiny" / "curve.png").is_file()


def test_weights_that_were_trained_are_told(folder: Path):
    assert train(folder, train__total_iter=2, distill={"train_weights": True, "lr_weights": 1e-6}) == 0
    assert read_packed(packed(folder)).header["provenance"]["weights_trained"] is True


def test_weights_that_were_conditioned_are_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    changes = {"train__total_iter": 1, "quant__recipe": "condiquant"}
    assert train(folder, **changes) == 0
    said = capsys.readouterr()
    assert "Weights changed: condition numbers of 12 linear weights lowered" in said.err
    assert "condiquant, strict codes, weights changed (conditioned)" in said.out + said.err
    provenance = read_packed(packed(folder)).header["provenance"]
    assert (provenance["weights_trained"], provenance["conditioning"]) == (True, 0.01)
    assert json.loads((folder / "experiments" / "tiny" / "results.json").read_text())["weights_trained"] is True


def test_weights_that_make_up_for_each_others_rounding_are_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert train(folder, train__total_iter=0) == 0
    nearest = sha256(packed(folder))
    assert read_packed(packed(folder)).header["provenance"]["rounding"] == "nearest"
    assert train(folder, train__total_iter=0, quant__rounding="gptq") == 0
    assert "Weights rounded by gptq: " in capsys.readouterr().err
    assert read_packed(packed(folder)).header["provenance"]["rounding"] == "gptq"
    assert sha256(packed(folder)) != nearest


def test_inputs_that_were_equalized_are_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert train(folder, train__total_iter=0, quant__equalization=True) == 0
    assert "Inputs of linear layers shifted and scaled by 4 norms" in capsys.readouterr().err
    assert read_packed(packed(folder)).header["provenance"]["equalization"] is True


def test_the_corrected_bias_is_scored_and_kept(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert train(folder, quant__bias_correction=True, train__optim_g__lr=0.0003) == 0
    assert "Bias of upsample.0 corrected by at most" in capsys.readouterr().err
    provenance = read_packed(packed(folder)).header["provenance"]
    results = json.loads((folder / "experiments" / "tiny" / "results.json").read_text())
    assert provenance["bias_correction"] is True and provenance["chosen"]["iteration"] in (3, 6)
    assert provenance["chosen"]["value"] == results["datasets"]["Holdout"]["quantized"]["psnr"]


def test_of_bounds_alone_the_bias_is_corrected_for_what_the_file_holds(folder: Path, monkeypatch: pytest.MonkeyPatch):
    name = "layers.0.residual_group.blocks.0.attn.relative_position_bias_table"
    seen, apply = [], BiasCorrection.apply

    def watched(correction: BiasCorrection) -> float:
        seen.append(correction.student.get_parameter(name).detach().clone())
        return apply(correction)

    monkeypatch.setattr(BiasCorrection, "apply", watched)
    assert train(folder, train__total_iter=0, quant__bias_correction=True) == 0
    kept = read_packed(packed(folder)).state[name].float()
    assert not torch.equal(tiny_run.plain_teacher().get_parameter(name), kept), "rounding changes something"
    assert torch.equal(seen[-1], kept)


def test_without_iterations_bounds_are_all(folder: Path):
    assert train(folder, train__total_iter=0) == 0
    provenance = read_packed(packed(folder)).header["provenance"]
    assert (provenance["iterations"], provenance["chosen"]) == (0, None)


def test_without_a_validation_set_the_last_iteration_is_the_result(folder: Path):
    options = {"train__total_iter": 2, "val": None}
    assert train(folder, **options) == 0
    assert read_packed(packed(folder)).header["provenance"]["chosen"]["by"] == "last iteration"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(number: int, folder: Path, capsys: pytest.CaptureFixture[str]):
    changes = {"logger__save_checkpoint_freq": 100, "train__ema_decay": 0.5}
    assert train(folder, **changes) == 0
    wanted = sha256(packed(folder))
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with disturbed(3, number):
        train(folder, **changes)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    assert "after iteration 3; resume with the same command and --auto_resume" in capsys.readouterr().err
    assert train(folder, "--auto_resume", **changes) == 0
    assert sha256(packed(folder)) == wanted


@pytest.mark.parametrize("recipe", ["compsrt", "plus"])
def test_a_pruned_run_with_trained_weights_goes_on_to_the_same_bits(recipe: str, folder: Path):
    changes = {
        "quant__recipe": recipe,
        "prune": {"hook": "magnitude", "ratio": 0.4, "end": 4, "every": 2},
        "distill": {"train_weights": True, "lr_weights": 1e-6, "relative_lr": True, "accumulate": 2},
    }
    assert train(folder, **changes) == 0
    header = read_packed(packed(folder)).header["provenance"]
    assert header["chosen"]["iteration"] == 6, "the only one judged after the last pruning step"
    wanted = sha256(packed(folder))
    with disturbed(5, signal.SIGTERM):
        train(folder, **changes)
    assert train(folder, "--auto_resume", **changes) == 0
    assert sha256(packed(folder)) == wanted


def test_a_validation_set_named_as_a_test_set_gets_one_warning(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert train(folder, train__total_iter=0, datasets__val__name="Set5") == 0
    assert capsys.readouterr().err.count("Validation set Set5 is a test set") == 1


def test_a_broken_loss_is_one_line_and_the_last_good_state_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    step = Trainer.step

    def broken(self: Trainer, *args: Any) -> dict[str, float]:
        if self.iteration == 3:
            with torch.no_grad():
                self.student.get_parameter("conv_first.bias").fill_(float("nan"))
        return step(self, *args)

    monkeypatch.setattr(Trainer, "step", broken)
    assert train(folder) == 2
    assert "iteration 4: the loss is nan; first layer whose output is not finite: conv_first" in capsys.readouterr().err
    assert states(folder) == ["0.state", "2.state"]
