"""Check an option file before anything starts: BasicSR looks its keys up as it goes, hours later or never.

`check_options` parses every block once, as the type of the class that reads it, and returns the typed blocks.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compsrt_plugin.config import pipeline_blocks as blocks
from compsrt_plugin.config.data_set_blocks import DATA_SETS, FOREIGN_SET, JUDGED_SET, TRAINING_SET
from compsrt_plugin.config.quant_options import QuantOptions
from compsrt_plugin.config.readers import OUR_MODELS, Reader, data_set_reader, model_reader, registered
from compsrt_plugin.config.run_options import RunOptions
from compsrt_plugin.config.train_blocks import BasicSRTrain, ForeignTrain
from compsrt_plugin.config.typed import Block, missing_key, parse
from compsrt_plugin.errors import CompSRTError

OUR_NETWORKS = ("CompSRTSwinIR", "CompSRTNet")  # known before BasicSR is imported, as the metrics are
USUAL_METRICS = ("calculate_psnr", "calculate_ssim")
PHASES = {"test": ("test", "val"), "train": ("train", "val")}
BOUNDS_ONLY = ", bounds only"
"""Ends the name under which a report shows a data set before calibration."""


@dataclass(frozen=True)
class Options:
    """Hold the checked blocks of an option file.

    Attributes:
        file: the top-level keys, and of our models `quant`, `tile`, `prune`, `distill`.
        path: the block `path:`.
        val: the block `val:`; None without one.
        train: the block `train:`; None in a test.
        run: our blocks with every value decided.
    """

    file: Any
    path: Any
    val: Any
    train: Any
    run: RunOptions

    @property
    def quant(self) -> QuantOptions | None:
        """How the network is quantized; None: it stays in full precision."""
        return self.run.quant


def check_options(options: Mapping[str, Any], command: str, where: str) -> Options:
    """Return the typed blocks of an option file.

    A key that a class of ours does not read is refused. For somebody else's class a warning is logged.

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
    _check_text("model_type", options["model_type"])
    model, reader = model_reader(options["model_type"]), f"basicsr {command}"
    _refuse_our_blocks(options, model)
    files, paths, vals = (
        (blocks.FILES, blocks.PATHS, blocks.VALS)
        if model.ours
        else (blocks.FOREIGN_FILES, blocks.FOREIGN_PATHS, blocks.FOREIGN_VALS)
    )
    file = parse("", options, files, reader, model.on_unknown)
    path = parse("path", options["path"], paths, reader, model.on_unknown)
    _check_network(options["network_g"], model)
    val = None
    if options.get("val") is not None:
        val = parse("val", options["val"], vals, reader, model.on_unknown)
        _check_metrics(options["val"])
    _check_data_sets(options, command, where, model)
    train = _train(options["train"], model) if command == "train" else None
    parsed = {name: getattr(file, name, None) for name in ("quant", "prune", "tile")}
    run = RunOptions.settle(options if model.ours else {}, **parsed, padding=getattr(val, "padding", "reflect"))
    return Options(file, path, val, train, run)


def _check_text(key: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise CompSRTError(f"{key} is {value!r}", allowed="text")


def _type_of(key: str, block: Any) -> str:
    """Return the `type` of a block; CompSRTError without one."""
    if not isinstance(block, Mapping):
        raise CompSRTError(f"{key} is {block!r}", allowed="a block of keys")
    if "type" not in block:
        raise missing_key(f"{key}.type")
    _check_text(f"{key}.type", block["type"])
    return block["type"]


def _refuse_our_blocks(options: Mapping[str, Any], model: Reader) -> None:
    """Refuse `quant:` where the model would train for hours and quantize nothing."""
    for block in blocks.OUR_BLOCKS:
        if options.get(block) is not None and model.ours is None and block not in (model.reads or ()):
            raise CompSRTError(
                f"the option file has the block {block}:, and model_type {model.name} does not read it",
                allowed=f"model_type: {', '.join(OUR_MODELS)}, or a class derived from them",
                hint=f"or leave it out: {block}=null",
            )


def _check_data_sets(options: Mapping[str, Any], command: str, where: str, model: Reader) -> None:
    if not options["datasets"]:
        raise CompSRTError(f"{where}: the block 'datasets' is empty", hint="name at least one dataset")
    keys: dict[str, str] = {}
    for phase, dataset in options["datasets"].items():
        key, kind = f"datasets.{phase}", phase.split("_")[0]
        if kind not in PHASES[command] or (kind == "train" and phase != kind):
            known = " or ".join(f"{name}_1" if name != "train" else name for name in PHASES[command])
            raise CompSRTError(f"{where}: unknown dataset {key}", allowed=f"names such as {known}")
        _check_data_set(key, dataset, kind == "train", model)
        if kind != "train":
            _check_name(keys, key, dataset["name"])
    if command == "train" and "train" not in options["datasets"]:
        raise missing_key("datasets.train")


def _check_data_set(key: str, dataset: Any, training: bool, model: Reader) -> None:
    reader = data_set_reader(f"{key}.type", _type_of(key, dataset))
    variants = DATA_SETS.get(reader.ours or reader.name, FOREIGN_SET)
    parse(key, dataset, variants, TRAINING_SET if training else JUDGED_SET, reader.on_unknown)
    for name in ("mean", "std", "color"):
        if model.ours and dataset.get(name) is not None:
            allowed = f"nothing: {model.name} takes colour images from 0 to 1"
            raise CompSRTError(f"{key}.{name} is {dataset[name]!r}", allowed=allowed)
    if (dataset.get("mean") is None) != (dataset.get("std") is None):
        raise CompSRTError(f"{key} has one of mean and std", allowed="both or neither")
    if dataset.get("persistent_workers") and not dataset.get("num_worker_per_gpu"):
        raise CompSRTError(f"{key}.persistent_workers is true", allowed="with num_worker_per_gpu from 1 on")
    if dataset.get("persistent_workers") and dataset.get("prefetch_mode") == "cpu":
        # BasicSR begins a second pass while a thread still reads the first: with the same workers both hang
        raise CompSRTError(f"{key} has persistent_workers and prefetch_mode cpu", allowed="one of them")
    if dataset.get("prefetch_mode") == "cuda" and training and not dataset.get("pin_memory"):
        raise CompSRTError(f"{key}.prefetch_mode is cuda", allowed="with pin_memory: true")


def _check_name(keys: dict[str, str], key: str, name: str) -> None:
    """Refuse a second data set of one name: results and image folders are named after it."""
    if name in keys:
        raise CompSRTError(
            f"{keys[name]} and {key} have the same name {name!r}",
            allowed="a name of its own for each: results and folders go by it",
        )
    if name.endswith(BOUNDS_ONLY):
        raise CompSRTError(f"{key}.name is {name!r}", allowed=f"names that do not end in {BOUNDS_ONLY!r}")
    keys[name] = key


def _train(train: Any, model: Reader) -> Block:
    if model.ours:
        return parse("train", train, blocks.TRAINS, model.ours, model.on_unknown)
    kind = BasicSRTrain if model.from_basicsr else ForeignTrain
    checked = parse("train", train, {model.name: kind}, model.name, model.on_unknown)
    for name, loss in train.items():
        if model.from_basicsr and name.endswith("_opt") and loss is not None:
            _check_call(f"train.{name}", loss, "LOSS_REGISTRY")
    return checked


def _check_network(network: Mapping[str, Any], model: Reader) -> None:
    """Check that there is such a network; the model checks the arguments of ours, see `network_g`."""
    kind = _type_of("network_g", network)
    if model.ours is None:
        _check_call("network_g", network, "ARCH_REGISTRY")
    elif kind not in OUR_NETWORKS:
        registered("network_g.type", kind, "ARCH_REGISTRY")


def _check_metrics(val: Mapping[str, Any]) -> None:
    for name, metric in (val.get("metrics") or {}).items():
        key = f"val.metrics.{name}"
        if _type_of(key, metric) not in USUAL_METRICS:
            registered(f"{key}.type", metric["type"], "METRIC_REGISTRY")


def _check_call(key: str, block: Any, registry: str) -> None:
    """Check a block that BasicSR calls a registered class with: `type` names it, all else are its arguments."""
    called = registered(f"{key}.type", _type_of(key, block), registry)
    try:
        inspect.signature(called).bind(**{name: value for name, value in block.items() if name != "type"})
    except TypeError as error:
        raise CompSRTError(f"{key} does not fit {block['type']}: {error}", hint="see its arguments") from error
