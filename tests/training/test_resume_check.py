"""What decides about the result may not change between a state and the run that goes on from it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training.resume_check import changes, settings
from training import tiny_run

STEPS = {"type": "MultiStepLR", "milestones": [4, 8], "gamma": 0.5}


@pytest.fixture
def opt(tmp_path: Path) -> dict[str, Any]:
    """Options as BasicSR hands them to a model."""
    found = tiny_run.options(tmp_path, train__warmup_iter=3, train__ema_decay=0.5, train__scheduler=dict(STEPS))
    added = {"dist": False, "world_size": 1, "pictures": {"train": "a", "Holdout": "b"}, "is_train": True}
    return {**found, **added}


def set_key(opt: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(opt)
    *path, last = key.split(".")
    block = changed
    for name in path:
        block = block[name]
    block[last] = value
    return changed


def compare(opt: dict[str, Any], other: dict[str, Any], iteration: int = 5) -> list[dict[str, Any]]:
    state = {"iter": iteration, "identity": {"teacher": "t", **settings(opt)}}
    return changes(state, {"teacher": "t", **settings(other)}, "5.state")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("train.optim_g.lr", 0.02, r"train\.optim_g\.lr 0\.01, now it is 0\.02"),
        ("train.optim_g.betas", [0.8, 0.99], r"train\.optim_g\.betas \[0\.9, 0\.99\], now"),
        ("train.optim_g.weight_decay", 1e-4, r"train\.optim_g\.weight_decay None, now it is 0\.0001"),
        ("train.ema_decay", 0.9, r"train\.ema_decay 0\.5, now it is 0\.9"),
        ("train.warmup_iter", 2, r"train\.warmup_iter 3, now it is 2"),
        ("train.scheduler.gamma", 0.1, r"train\.scheduler\.gamma 0\.5, now"),
        ("train.scheduler.milestones", [3, 8], r"train\.scheduler\.milestones \[4, 8\], now it is \[3, 8\]"),
        ("train.total_iter", 4, r"5\.state is of iteration 5, train\.total_iter is 4"),
        ("manual_seed", 1, "manual_seed 0, now it is 1"),
        ("datasets.train.batch_size_per_gpu", 4, "images a batch 2, now it is 4"),
        ("datasets.train.gt_size", 32, r"datasets\.train\.gt_size 64, now it is 32"),
        ("datasets.train.use_hflip", False, r"datasets\.train\.use_hflip True, now it is False"),
        ("datasets.val.name", "Other", r"datasets\.val\.name 'Holdout', now it is 'Other'"),
        ("pictures.train", "c", r"with another set of images in datasets\.train"),
        ("val.metrics.psnr.crop_border", 2, r"val\.metrics\.psnr\.crop_border 4, now it is 2"),
        ("val", None, "now it is None"),
        ("path.param_key_g", "params_ema", r"path\.param_key_g None, now it is 'params_ema'"),
    ],
)
def test_what_decides_about_the_result_may_not_change(key: str, value: Any, says: str, opt: dict[str, Any]) -> None:
    with pytest.raises(CompSRTError, match=f"{says}.*; .*start again without --auto_resume"):
        compare(opt, set_key(opt, key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("logger.print_freq", 7),
        ("val.save_img", True),
        ("datasets.train.num_worker_per_gpu", 2),
        ("datasets.train.keep_in_memory", True),
        ("datasets.train.dataroot_gt", "/elsewhere/HR"),
        ("path.pretrain_network_g", "/elsewhere/teacher.pth"),
    ],
)
def test_what_changes_no_number_may_change_without_a_word(key: str, value: Any, opt: dict[str, Any]) -> None:
    assert compare(opt, set_key(opt, key, value)) == []


@pytest.mark.parametrize(
    ("key", "value", "was"),
    [
        ("train.total_iter", 12, 6),
        ("val.val_freq", 1, 3),
        ("train.scheduler.milestones", [4, 9, 12], [4, 8]),
        ("train.scheduler.milestones", [4, 5], [4, 8]),
    ],
)
def test_a_run_may_be_made_longer_and_what_changed_is_told(key: str, value: Any, was: Any, opt: dict[str, Any]) -> None:
    assert compare(opt, set_key(opt, key, value)) == [{"iteration": 5, "key": key, "was": was, "is": value}]


def test_two_processes_of_one_image_each_go_on_for_one_of_two(opt: dict[str, Any]) -> None:
    shared = set_key({**opt, "dist": True, "world_size": 2}, "datasets.train.batch_size_per_gpu", 1)
    assert compare(opt, shared) == []


@pytest.mark.parametrize("state", [{"iter": 5}, {"iter": 5, "identity": {"teacher": "t"}}])
def test_a_state_that_does_not_say_how_it_came_about_is_refused(state: dict[str, Any], opt: dict[str, Any]) -> None:
    with pytest.raises(CompSRTError, match=r"5\.state is the state of another model, or of an earlier version"):
        changes(state, settings(opt), "5.state")
