"""Checks an option file before anything starts: BasicSR looks its keys up as it goes, hours later or never.

What there is to check stands in `tables`; here every block is held against the table of whoever reads it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from compsrt_plugin.config import tables
from compsrt_plugin.config.checks import text
from compsrt_plugin.config.keys import check_block
from compsrt_plugin.config.readers import OUR_MODELS, Reader, data_set_reader, model_reader, registered
from compsrt_plugin.errors import CompSRTError

OUR_NETWORKS = ("CompSRTSwinIR", "CompSRTNet")  # there before BasicSR is imported, as the metrics are
USUAL_METRICS = ("calculate_psnr", "calculate_ssim")
PHASES = {"test": ("test", "val"), "train": ("train", "val")}
BOUNDS_ONLY = ", bounds only"
"""Ends the name under which a report shows a data set before calibration."""


def check_layout(options: Mapping[str, Any], command: str, where: str) -> None:
    """Check every key of an option file: whether it is known, whether it is missing, and its value.

    What a class of ours does not read is refused; of somebody else's class a warning is given.

    Args:
        options: the options, read and with `--force_yml` applied.
        command: `train` or `test`.
        where: name of the file, for errors.

    Raises:
        CompSRTError: a key is unknown, missing or has a wrong value; names the key.
    """
    if command == "train" and "train" not in options:
        raise CompSRTError(f"{where} has no block 'train'", hint="is it meant for `basicsr test -opt …`?")
    if "model_type" not in options:
        raise CompSRTError(f"{where} has no key 'model_type'", allowed=", ".join(OUR_MODELS))
    text()("model_type", options["model_type"])
    model, variant = model_reader(options["model_type"]), f"basicsr {command}"
    _refuse_our_blocks(options, model)
    check_block("", options, tables.FILE if model.ours else tables.FOREIGN_FILE, variant, model.on_unknown)
    path = tables.PATH if model.ours else tables.FOREIGN_PATH
    check_block("path", options["path"], path, variant, model.on_unknown)
    _check_network(options["network_g"], model)
    if options.get("val") is not None:
        val = tables.VAL if model.ours else tables.FOREIGN_VAL
        check_block("val", options["val"], val, variant, model.on_unknown)
        _check_metrics(options["val"])
    _check_data_sets(options, command, where, model)
    if command == "train":
        _check_train(options["train"], model)


def _needed(block: Mapping[str, Any], where: str, key: str) -> Any:
    if key not in block:
        raise CompSRTError(f"the option file has no key '{where}.{key}'", hint="see the installed option files")
    return block[key]


def _refuse_our_blocks(options: Mapping[str, Any], model: Reader) -> None:
    """Refuse `quant:` where the model would train for hours and quantize nothing."""
    for block in tables.OUR_BLOCKS:
        if options.get(block) is not None and model.ours is None and block not in (model.reads or ()):
            raise CompSRTError(
                f"the option file has the block {block}:, and model_type {model.name} does not read it",
                allowed=f"model_type: {', '.join(OUR_MODELS)}, or a class derived from them",
                hint=f"or leave it out: {block}=null",
            )


def _check_data_sets(options: Mapping[str, Any], command: str, where: str, model: Reader) -> None:
    if not options["datasets"]:
        raise CompSRTError(f"{where}: the block 'datasets' is empty", hint="name at least one dataset")
    names: dict[str, str] = {}
    for phase, dataset in options["datasets"].items():
        key, kind = f"datasets.{phase}", phase.split("_")[0]
        if kind not in PHASES[command] or (kind == "train" and phase != kind):
            known = " or ".join(f"{name}_1" if name != "train" else name for name in PHASES[command])
            raise CompSRTError(f"{where}: unknown dataset {key}", allowed=f"names such as {known}")
        _check_data_set(key, dataset, kind == "train", model)
        if kind != "train":
            _note_name(names, key, dataset["name"])
    if command == "train":
        _needed(options["datasets"], "datasets", "train")


def _check_data_set(key: str, dataset: Any, trained: bool, model: Reader) -> None:
    variant = tables.TRAINING_SET if trained else tables.JUDGED_SET
    if not isinstance(dataset, Mapping):
        raise CompSRTError(f"{key} is {dataset!r}", allowed="a block of keys")
    text()(f"{key}.type", _needed(dataset, key, "type"))
    reader = data_set_reader(f"{key}.type", dataset["type"])
    known = tables.DATA_SETS.get(reader.ours or reader.name, tables.FOREIGN_SET)
    check_block(key, dataset, known, variant, reader.on_unknown)
    for name in ("mean", "std", "color"):
        if model.ours and dataset.get(name) is not None:
            raise CompSRTError(
                f"{key}.{name} is {dataset[name]!r}", allowed=f"nothing: {model.name} takes colour pictures from 0 to 1"
            )
    if (dataset.get("mean") is None) != (dataset.get("std") is None):
        raise CompSRTError(f"{key} has one of mean and std", allowed="both or neither")
    if dataset.get("persistent_workers") and not dataset["num_worker_per_gpu"]:
        raise CompSRTError(f"{key}.persistent_workers is true", allowed="with num_worker_per_gpu from 1 on")
    if dataset.get("persistent_workers") and dataset.get("prefetch_mode") == "cpu":
        # BasicSR begins a second pass while a thread still reads the first: with the same workers both hang
        raise CompSRTError(f"{key} has persistent_workers and prefetch_mode cpu", allowed="one of them")
    if dataset.get("prefetch_mode") == "cuda" and trained and dataset.get("pin_memory") is not True:
        raise CompSRTError(f"{key}.prefetch_mode is cuda", allowed="with pin_memory: true")


def _note_name(names: dict[str, str], key: str, name: str) -> None:
    """Refuse a second data set of one name: figures and pictures go by it."""
    if name in names:
        raise CompSRTError(
            f"{names[name]} and {key} have the same name {name!r}",
            allowed="a name of its own for each: results and folders go by it",
        )
    if name.endswith(BOUNDS_ONLY):
        raise CompSRTError(f"{key}.name is {name!r}", allowed=f"names that do not end in {BOUNDS_ONLY!r}")
    names[name] = key


def _check_train(train: Any, model: Reader) -> None:
    if model.ours:
        check_block("train", train, tables.TRAIN, model.ours, model.on_unknown)
        return
    check_block("train", train, {model.name: tables.FOREIGN_TRAIN}, model.name, model.on_unknown)
    if model.from_basicsr:
        tables.OPTIMIZER("train.optim_g", _needed(train, "train", "optim_g"))
        tables.scheduler("train.scheduler", _needed(train, "train", "scheduler"))
        for name, loss in train.items():
            if name.endswith("_opt") and loss is not None:
                _check_call(f"train.{name}", loss, "LOSS_REGISTRY")


def _check_network(network: Mapping[str, Any], model: Reader) -> None:
    """Check that there is such a network; what ours take is checked by the model, see `network_g`."""
    text()("network_g.type", _needed(network, "network_g", "type"))
    if model.ours is None:
        _check_call("network_g", network, "ARCH_REGISTRY")
    elif network["type"] not in OUR_NETWORKS:
        registered("network_g.type", network["type"], "ARCH_REGISTRY")


def _check_metrics(val: Mapping[str, Any]) -> None:
    for name, metric in (val.get("metrics") or {}).items():
        if metric["type"] not in USUAL_METRICS:
            registered(f"val.metrics.{name}.type", metric["type"], "METRIC_REGISTRY")


def _check_call(key: str, block: Any, registry: str) -> None:
    """Check a block that BasicSR calls a registered class with: `type` names it, all else are its arguments."""
    if not isinstance(block, Mapping):
        raise CompSRTError(f"{key} is {block!r}", allowed="a block of keys")
    text()(f"{key}.type", _needed(block, key, "type"))
    called = registered(f"{key}.type", block["type"], registry)
    try:
        inspect.signature(called).bind(**{name: value for name, value in block.items() if name != "type"})
    except TypeError as error:
        raise CompSRTError(f"{key} does not fit {block['type']}: {error}", hint="see its arguments") from error
