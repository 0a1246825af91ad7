"""What BasicSR's pipelines need to find in an option file, checked before anything starts.

BasicSR looks its keys up as it goes, and a missing one ends in a KeyError after folders are made.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from compsrt_plugin.config.checks import Check, flag, number, optional, text, whole
from compsrt_plugin.config.force_yml import OUR_BLOCKS
from compsrt_plugin.errors import CompSRTError


def _block(key: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise CompSRTError(f"{key} is {value!r}", allowed="a block of keys")


def _gpus(key: str, value: Any) -> None:
    if value != "auto":
        whole(0)(key, value)


def _folder_name(key: str, value: Any) -> None:
    text()(key, value)
    if value in (".", "..") or set(value) & set("/\\\0"):
        raise CompSRTError(f"{key} is {value!r}", allowed="a plain name: it becomes a folder's")


def _anything(key: str, value: Any) -> None:
    """Allow every value: the key must only be there."""


# dotted key -> what its value must be
NEEDED: dict[str, Check] = {
    "name": _folder_name,
    "model_type": text(),
    "scale": whole(1),
    "num_gpu": _gpus,
    "datasets": _block,
    "network_g": _block,
    "network_g.type": text(),
    "path": _block,
}
NEEDED_TO_TEST: dict[str, Check] = {"val": _block, "val.save_img": flag(), "val.suffix": _anything}
NEEDED_TO_TRAIN: dict[str, Check] = {
    "datasets.train": _block,
    "datasets.train.batch_size_per_gpu": whole(1),
    "datasets.train.num_worker_per_gpu": whole(0),
    "train": _block,
    "train.total_iter": number(0),
    "logger": _block,
    "logger.print_freq": number(1),
    "logger.save_checkpoint_freq": number(1),
    "logger.use_tb_logger": flag(),
}
# checked where they are there
OPTIONAL: dict[str, Check] = {
    "manual_seed": optional(whole(0)),
    "path.pretrain_network_g": optional(text()),
    "path.pretrain_network_teacher": optional(text()),
    "path.resume_state": optional(text()),
}
OPTIONAL_OF_DATASET: dict[str, Check] = {
    "dataroot_gt": optional(text()),
    "dataroot_lq": optional(text()),
    "filename_tmpl": optional(text()),
    "meta_info_file": optional(text()),
    "io_backend": optional(_block),
}
PHASES = {"test": ("test", "val"), "train": ("train", "val")}


def check_layout(options: Mapping[str, Any], command: str, where: str) -> None:
    """Check that an option file has what BasicSR's pipeline for `command` looks up.

    Args:
        options: the options, read and with `--force_yml` applied.
        command: `train` or `test`.
        where: name of the file, for errors.

    Raises:
        CompSRTError: a key is missing or has a value of the wrong kind; names the key.
    """
    _refuse_misspelt_blocks(options, where)
    if command == "train" and "train" not in options:
        raise CompSRTError(f"{where} has no block 'train'", hint="is it meant for `basicsr test -opt …`?")
    for key, check in {**NEEDED, **(NEEDED_TO_TRAIN if command == "train" else NEEDED_TO_TEST)}.items():
        check(key, _look_up(options, key, where))
    _check_optional(options, OPTIONAL)
    if not options["datasets"]:
        raise CompSRTError(f"{where}: the block 'datasets' is empty", hint="name at least one dataset")
    for phase, dataset in options["datasets"].items():
        key = f"datasets.{phase}"
        if phase.split("_")[0] not in PHASES[command]:
            names = " or ".join(f"{name}_1" if name != "train" else name for name in PHASES[command])
            raise CompSRTError(f"{where}: unknown dataset {key}", allowed=f"names such as {names}")
        _block(key, dataset)
        for name in ("name", "type"):
            text()(f"{key}.{name}", _look_up(options, f"{key}.{name}", where))
        _check_optional(options, {f"{key}.{name}": check for name, check in OPTIONAL_OF_DATASET.items()})
    val = options.get("val")
    for name, metric in _metrics(val).items():
        _block(f"val.metrics.{name}", metric)
    if command == "train" and val is not None:
        _block("val", val)
        number(1)("val.val_freq", _look_up(options, "val.val_freq", where))
        flag()("val.save_img", _look_up(options, "val.save_img", where))


def _metrics(val: Any) -> Mapping[str, Any]:
    metrics = val.get("metrics") if isinstance(val, Mapping) else None
    if metrics is not None:
        _block("val.metrics", metrics)
    return metrics or {}


def _check_optional(options: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    for key, check in checks.items():
        *blocks, name = key.split(".")
        block: Any = options
        for part in blocks:
            block = block.get(part) or {}
        if name in block:
            check(key, block[name])


def _look_up(options: Mapping[str, Any], key: str, where: str) -> Any:
    value: Any = options
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise CompSRTError(f"{where} has no key '{key}'", hint="BasicSR needs it: see the installed files")
        value = value[name]
    return value


def _refuse_misspelt_blocks(options: Mapping[str, Any], where: str) -> None:
    """Refuse `qaunt:`, which BasicSR would ignore, leaving a network that is not quantized at all."""
    for key in options:
        near = difflib.get_close_matches(key, OUR_BLOCKS, n=1, cutoff=0.75)
        if near and key not in OUR_BLOCKS:
            raise CompSRTError(f"{where}: unknown block {key!r}", hint=f"did you mean {near[0]!r}?")
