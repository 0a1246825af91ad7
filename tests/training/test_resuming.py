"""A run that goes on ends as one left in peace, or says what has changed; nothing is done twice."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from models.test_compsrt_model import folder, one_thread  # noqa: F401  (fixtures)

from compsrt_plugin.basicsr_compat.resume import read_state
from compsrt_plugin.data import kept_images
from compsrt_plugin.models.evaluation import Evaluator
from compsrt_plugin.packed import read_packed
from compsrt_plugin.packed.header import Header
from compsrt_plugin.training import patches, quantization

from . import tiny_run
from .running import disturbed, packed, sha256, states, train

# no iteration of this run takes half a second
SHORT = {
    "train__total_iter": 4,
    "val__val_freq": 2,
    "quant__calibration": {"patches": 1, "patch_size": 8},
    "datasets__train__gt_size": 32,
    "datasets__val__centre_patch": 8,
}


@pytest.fixture(autouse=True)
def quiet(folder: Path, one_thread: None) -> Iterator[None]:  # noqa: F811
    yield


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images scored, in order."""
    found: list[str] = []
    judge = Evaluator.evaluate

    def watched(self: Evaluator, dataset: str, image: str, *args: Any) -> Any:
        found.append(image)
        return judge(self, dataset, image, *args)

    monkeypatch.setattr(Evaluator, "evaluate", watched)
    return found


def provenance() -> dict[str, Any]:
    return read_packed(packed(Path())).header["provenance"]


REFUSED = {
    "train.optim_g.lr 0.01, now it is 0.005": {"train__optim_g__lr": 0.005},
    "train.optim_g.weight_decay None, now it is 0.1": {"train__optim_g__weight_decay": 0.1},
    "train.ema_decay None, now it is 0.5": {"train__ema_decay": 0.5},
    "quant.bits 2, now it is 3": {"quant__bits": 3},
    "another set of images in datasets.train": {"datasets__train__subset": None},
}


def test_options_under_which_nothing_ran_are_refused_and_the_state_stays(
    folder: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    with disturbed(3, signal.SIGTERM):
        train(folder, **SHORT)
    for says, change in REFUSED.items():
        assert train(folder, "--auto_resume", **SHORT, **change) == 2
        assert f"3.state was written with {says}; resume with" in capsys.readouterr().err.splitlines()[-1]
    assert states(folder) == ["2.state", "3.state"]
    assert not packed(folder).exists()


def test_a_finished_run_can_be_made_longer_and_its_file_says_since_when(folder: Path) -> None:  # noqa: F811
    schedule = {"type": "CosineAnnealingRestartLR", "periods": [4]}
    assert train(folder, **SHORT, train__scheduler=schedule) == 0
    assert "changed" not in provenance()
    rates = {**SHORT, "train__total_iter": 8, "train__scheduler": {**schedule, "periods": [8]}}
    assert train(folder, "--auto_resume", **rates) == 0
    assert provenance()["iterations"] == 8
    assert provenance()["changed"] == [
        {"iteration": 4, "key": "train.scheduler.periods", "was": [4], "is": [8]},
        {"iteration": 4, "key": "train.total_iter", "was": 4, "is": 8},
    ]
    log = "".join(path.read_text() for path in sorted((folder / "experiments" / "tiny").glob("train_*.log")))
    assert "From iteration 4 on train.total_iter is 8; it was 4 before" in log
    assert "iter:       6, lr:(3.087e-03" in log, "the longer run's rate there: 5 eighths of a cosine from 0.01"


def test_the_options_in_the_file_are_those_of_the_run(folder: Path) -> None:  # noqa: F811
    assert train(folder, **SHORT) == 0
    header = Header.parse(read_packed(packed(folder)).header, "tiny")
    assert header.options is not None
    kept = yaml.safe_load(header.options)
    assert kept["train"]["scheduler"] == {"type": "CosineAnnealingRestartLR", "periods": [4]}
    assert "pictures" not in kept


def test_a_killed_run_whose_newest_state_is_cut_off_ends_with_the_same_bits(folder: Path) -> None:  # noqa: F811
    often = {**SHORT, "logger__save_checkpoint_freq": 1, "train__ema_decay": 0.5}
    assert train(folder, **often) == 0
    wanted = sha256(packed(folder))
    with disturbed(4):
        train(folder, **often)
    assert states(folder) == ["2.state", "3.state"]
    newest = folder / "experiments" / "tiny" / "training_states" / "3.state"
    newest.write_bytes(newest.read_bytes()[:-1000])
    assert train(folder, "--auto_resume", **often) == 0
    assert sha256(packed(folder)) == wanted


def test_going_on_after_the_first_iteration_warns_of_nothing(folder: Path) -> None:  # noqa: F811
    often = {**SHORT, "train__total_iter": 2, "logger__save_checkpoint_freq": 1}
    with disturbed(2):
        train(folder, **often)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Detected call of")
        assert train(folder, "--auto_resume", **often) == 0


def test_a_run_without_a_seed_goes_on_to_the_same_bits(folder: Path) -> None:  # noqa: F811
    seedless = {**SHORT, "manual_seed": None}
    assert train(folder, **seedless) == 0
    wanted = sha256(packed(folder))
    with disturbed(4):
        train(folder, **seedless)
    assert train(folder, "--auto_resume", **seedless) == 0
    assert sha256(packed(folder)) == wanted


def test_held_out_images_are_scored_once_an_iteration_though_the_run_is_killed(
    folder: Path,  # noqa: F811
    judged: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with disturbed(1):
        train(folder, **SHORT)
    assert len(judged) == 1, "before the first iteration"
    with disturbed(3):
        train(folder, "--auto_resume", **SHORT)
    assert len(judged) == 2, "after the second"
    assert train(folder, "--auto_resume", **SHORT) == 0
    assert len(judged) == 4, "after the last, and for the report"
    told = [line for line in capsys.readouterr().err.splitlines() if "INFO: Evaluating" in line]
    assert [line.split("INFO: ")[1] for line in told] == [
        "Evaluating Holdout, 1 image, before the first iteration",
        "Evaluating Holdout, 1 image, after iteration 2",
        "Evaluating Holdout, 1 image, after iteration 4",
        "Evaluating Holdout, 1 image, for the report",
    ]


def test_a_run_stopped_between_two_held_out_sets_judges_both_and_tells_each_once(
    folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = {**tiny_run.options(folder)["datasets"]["val"], "name": "Second", "subset": "train"}
    sets = {**SHORT, "train__total_iter": 1, "datasets__val_2": second}
    judge = Evaluator.evaluate

    def stop(self: Evaluator, dataset: str, *args: Any) -> Any:
        if dataset == "Second":
            os.kill(os.getpid(), signal.SIGTERM)
        return judge(self, dataset, *args)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as end:
        patched.setattr(Evaluator, "evaluate", stop)
        train(folder, **sets)
    assert end.value.code == 128 + signal.SIGTERM
    assert train(folder, "--auto_resume", **sets) == 0
    (state,) = [read_state(folder / "experiments" / "tiny" / "training_states" / "0.state")]
    names = [(name, image) for name, image, *_ in state["before"]]
    assert names == [("Holdout", "p0.png"), *(("Second", f"p{number}.png") for number in range(1, 6))]


def test_a_held_out_set_that_is_not_there_does_not_keep_the_other_from_choosing(folder: Path) -> None:  # noqa: F811
    missing = {**tiny_run.options(folder)["datasets"]["val"], "name": "Missing", "dataroot_gt": "/nowhere"}
    assert train(folder, **{**SHORT, "datasets__val_2": missing}) == 0
    assert provenance()["chosen"]["by"] == "holdout PSNR"


def test_training_images_are_decoded_once_and_the_teacher_is_hashed_once(
    folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    hashed: list[str] = []
    built: list[str] = []
    watch(monkeypatch, kept_images, "read_image", lambda path: read.append(path.name))
    watch(monkeypatch, quantization, "file_sha256", lambda path: hashed.append(str(path)))
    watch(monkeypatch, patches, "build_dataset", lambda opt: built.append(opt["name"]))
    pruned = {"prune": {"hook": "wanda", "ratio": 0.4, "end": 3, "every": 1}, "quant__recipe": "plus"}
    often = {"logger__save_checkpoint_freq": 1, "datasets__train__keep_in_memory": True}
    assert train(folder, **SHORT, **pruned, **often) == 0
    assert len(read) == len(set(read)) == 10, "five pictures, high and low resolution"
    assert len(hashed) == 1
    assert built == ["Calibration"]


def watch(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, note: Callable[[Any], object]) -> None:
    """Note the argument of each call of a module's function."""
    original = getattr(module, name)

    def watched(argument: Any) -> Any:
        note(argument)
        return original(argument)

    monkeypatch.setattr(module, name, watched)
