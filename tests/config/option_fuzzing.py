"""Every key of a train and a test file with every kind of wrong value: a run, or one line that says what is wrong."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from places import Place

from compsrt_plugin.cli.main import main

REMOVED = object()
VALUES: dict[str, Any] = {
    "removed": REMOVED,
    "null": None,
    "text": "rubbish",
    "zero": 0,
    "minus one": -1,
    "a list": [1],
    "a mapping": {"a": 1},
}
FOLDERS = ("results", "experiments", "tb_logger")
Case = tuple[str, tuple[str, ...], str]
"""Command, path of a key, name of what becomes of its value."""


def full_options(place: Place) -> dict[str, dict[str, Any]]:
    """Return a test and a train file with nearly every key that our classes read, each with a value that is allowed."""
    picture_set = {**place.data, "meta_info_file": None, "subset": None, "embedded": None, "mean": None, "color": None}
    loading = {"pin_memory": False, "prefetch_mode": None, "num_prefetch_queue": 1}
    metric = {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": True, "input_order": "HWC"}
    metrics = {"psnr": {**metric, "better": "higher"}, "ssim": {**metric, "type": "calculate_ssim"}}
    judging = {"save_img": True, "suffix": None, "padding": "reflect", "metrics": metrics}
    test, train = copy.deepcopy(place.test), copy.deepcopy(place.train)
    test["tile"] = {"size": 64, "overlap": 8}
    test["datasets"] = {"test_1": {**picture_set, **loading, "centre_patch": 96, "strict_data": False}}
    test["val"] = {**copy.deepcopy(judging), "engine": False}
    train["datasets"]["train"].update(picture_set, **loading, gt_size=32, batch_size_per_gpu=1)
    train["datasets"]["train"].update(persistent_workers=False, keep_in_memory=True, shrunk=None)
    train["datasets"]["val"] = {**picture_set, "name": "Held out", **loading, "centre_patch": None}
    train["val"] = {"val_freq": 1, **judging, "save_img": False}
    train["train"].update(total_iter=1, warmup_iter=-1, ema_decay=0.5)
    train["train"]["optim_g"].update(eps=1e-8, amsgrad=False)
    train["tile"] = None
    train["prune"] = {"hook": "magnitude", "ratio": 0.2, "layers": {}, "scope": "tensor", "options": {}}
    train["prune"].update(compensate=False, start=0, end=0, every=1, curve="cubic")
    train["distill"] = {"feature_weight": 5.0, "features": None, "target_weight": 0.0, "gradient_clip": 1.0}
    train["distill"].update(accumulate=1, relative_lr=True, lr_decomposition=None, train_weights=True, lr_weights=1e-5)
    tensor = {"bits": None, "transform": None, "granularity": None, "search": None, "codes": None}
    train["quant"].update(bits=4, weight=dict(tensor), activation=dict(tensor), conv_bits="recipe")
    train["quant"].update(conv_input_bits=None, overrides={"layers.*": {"bits": 4}}, rounding="recipe")
    return {"test": test, "train": train}


def keys_of(options: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every key at every depth."""
    for name, value in options.items():
        yield (*above, name)
        if isinstance(value, Mapping):
            yield from keys_of(value, (*above, name))


def cases(place: Place) -> list[Case]:
    """Return every key of both files with each of `VALUES`."""
    found = full_options(place)
    return [(command, path, kind) for command in found for path in keys_of(found[command]) for kind in VALUES]


def spoil(options: dict[str, Any], path: tuple[str, ...], kind: str) -> None:
    """Give one key another value, in place."""
    block = options
    for name in path[:-1]:
        block = block[name]
    if VALUES[kind] is REMOVED:
        del block[path[-1]]
    else:
        block[path[-1]] = copy.deepcopy(VALUES[kind])


def run(case: Case, place: Place) -> str:
    """Run one case in the current folder and return "run", or the line with which it was refused.

    Raises:
        AssertionError: it ended neither in a run nor in one line, or a refused run left a folder.
        Exception: the traceback that a user would have seen.
    """
    command, path, kind = case
    options = full_options(place)
    spoil(options[command], path, kind)
    for folder in FOLDERS:
        shutil.rmtree(folder, ignore_errors=True)
    forget_logger()
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        Path("options.yml").write_text(yaml.safe_dump(options[command]))
        code = main([command, "-opt", "options.yml"])
    lines = [line for line in said.getvalue().splitlines() if line]
    assert not any("Traceback" in line for line in lines), lines
    if code == 0:
        return "run"
    errors = [line for line in lines if line.startswith("basicsr: error: ")]
    assert code == 2 and errors == lines[-1:], lines
    assert not any(Path(folder).exists() for folder in FOLDERS), "a refused run leaves nothing"
    return errors[0]


def forget_logger() -> None:
    """Let BasicSR set its logger up anew, as in a new process."""
    from basicsr.utils.logger import initialized_logger

    for handler in list(logging.getLogger("basicsr").handlers):
        logging.getLogger("basicsr").removeHandler(handler)
        handler.close()
    initialized_logger.clear()
