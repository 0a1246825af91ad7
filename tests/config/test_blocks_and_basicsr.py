"""The typed blocks against BasicSR's sources: a key that BasicSR reads is known, one that nothing reads is not."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from basicsr.models import lr_scheduler
from basicsr.utils import file_client
from basicsr.utils.registry import METRIC_REGISTRY

import compsrt_plugin
from compsrt_plugin.config import data_set_blocks as sets
from compsrt_plugin.config import pipeline_blocks as blocks
from compsrt_plugin.config import train_blocks
from compsrt_plugin.config.typed import Block, fields_of
from compsrt_plugin.training import option_text

PIPELINE = (
    "train",
    "test",
    "utils.options",
    "utils.logger",
    "utils.misc",
    "data",
    "models.base_model",
    "models.sr_model",
)
# what BasicSR's functions call a block
BLOCKS: dict[str, tuple[str, ...]] = {
    "opt": (),
    "dataset_opt": ("datasets", "train"),
    "train_opt": ("train",),
    "path_opt": ("path",),
}
ADDED = option_text.ADDED_BY_BASICSR | option_text.ADDED_TO_PATHS | option_text.ADDED_TO_DATASETS | {"results_root"}
# known by the source of the class that the option file names, see `readers`
OF_ITS_MODELS = {"pixel_opt", "perceptual_opt", "optim_g", "scheduler", "find_unused_parameters"}


def path_of(node: ast.expr) -> tuple[str, ...] | None:
    """Return the keys of `opt['path'].get('log')` and the like; None for other expressions."""
    if isinstance(node, ast.Name) and node.id in BLOCKS:
        return BLOCKS[node.id]
    if isinstance(node, ast.Attribute) and node.attr in BLOCKS:  # self.opt
        return BLOCKS[node.attr]
    if isinstance(node, ast.Subscript):
        inner, key = path_of(node.value), node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop"):
        inner, key = path_of(node.func.value), node.args[0] if node.args else None
    else:
        return None
    is_key = inner is not None and isinstance(key, ast.Constant) and isinstance(key.value, str)
    return (*inner, key.value) if is_key else None


def paths_in(module: str) -> Iterator[tuple[str, ...]]:
    """Yield every path of keys that a module of BasicSR's reads."""
    source = inspect.getsource(importlib.import_module(f"basicsr.{module}"))
    for node in ast.walk(ast.parse(source)):
        path = path_of(node) if isinstance(node, (ast.Subscript, ast.Call)) else None
        if path:
            yield path


def keys(*kinds: type[Block]) -> set[str]:
    return {name for kind in kinds for name in fields_of(kind)}


def knows(path: tuple[str, ...]) -> bool:
    block, key = path[:-1], path[-1]
    by_block: dict[tuple[str, ...], set[str]] = {
        (): keys(*blocks.FOREIGN_FILES.values()),
        ("datasets",): {"train"},
        ("datasets", "train"): keys(sets.FOREIGN_SET[sets.TRAINING_SET]),
        ("path",): keys(*blocks.FOREIGN_PATHS.values()),
        ("train",): keys(train_blocks.ForeignTrain),
        ("val",): keys(*blocks.FOREIGN_VALS.values()),
        ("logger",): keys(blocks.Logger),
        ("logger", "wandb"): keys(blocks.Wandb),
        ("train", "optim_g"): keys(train_blocks.Adam) | {"type"},
        ("train", "scheduler"): {"type"},
    }
    assert block in by_block, f"BasicSR has a block {block}"
    return key in by_block[block]


@pytest.mark.parametrize("module", PIPELINE)
def test_every_key_that_basicsrs_pipelines_read_is_known(module: str) -> None:
    read = set(paths_in(module))
    assert read, "the source is read as it is meant to be"
    assert {path for path in read if path[-1] not in ADDED | OF_ITS_MODELS and not knows(path)} == set()


def keys_of_data_set(name: str) -> set[str]:
    """Return every key that one of BasicSR's data sets looks up or looks for, with those of its `io_backend`."""
    source = inspect.getsource(importlib.import_module(f"basicsr.data.{name}"))
    tree = ast.parse(source)
    looked_for = {
        node.left.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In) and isinstance(node.left, ast.Constant)
    }
    looked_up = {path[-1] for node in ast.walk(tree) if isinstance(node, ast.Subscript) and (path := path_of(node))}
    return (looked_for | looked_up) - ADDED


@pytest.mark.parametrize(
    ("module", "kind"),
    [("paired_image_dataset", "PairedImageDataset"), ("single_image_dataset", "SingleImageDataset")],
)
def test_the_keys_of_basicsrs_data_sets_are_those_of_the_blocks(module: str, kind: str) -> None:
    of_any_set = keys(sets.FOREIGN_SET[sets.TRAINING_SET]) - {"io_backend"}
    assert keys(*sets.DATA_SETS[kind].values()) - of_any_set == keys_of_data_set(module)


@pytest.mark.parametrize(
    ("block", "called", "filled_in"),
    [
        (train_blocks.MultiStep, lr_scheduler.MultiStepRestartLR, {"optimizer", "last_epoch"}),
        (train_blocks.Cosine, lr_scheduler.CosineAnnealingRestartLR, {"optimizer", "last_epoch"}),
        (sets.DiskBackend, file_client.HardDiskBackend, {"args", "kwargs"}),
        (sets.LmdbBackend, file_client.LmdbBackend, {"db_paths", "client_keys", "_"}),
        (sets.MemcachedBackend, file_client.MemcachedBackend, set()),
    ],
    ids=["steps", "cosine", "disk", "lmdb", "memcached"],
)
def test_what_basicsr_is_called_with_is_what_it_takes(block: type[Block], called: Any, filled_in: set[str]) -> None:
    parameters = inspect.signature(called).parameters
    assert keys(block) == set(parameters) - filled_in
    for name, entry in fields_of(block).items():
        default = entry.default if entry.default_factory is msgspec.NODEFAULT else entry.default_factory()
        given = parameters[name].default
        if default not in (msgspec.NODEFAULT, None) and given is not inspect.Parameter.empty:
            assert default == (list(given) if isinstance(given, tuple) else given), name


def test_adam_takes_what_the_block_has() -> None:
    assert keys(train_blocks.Adam) <= set(inspect.signature(torch.optim.Adam).parameters)


@pytest.mark.parametrize("name", fields_of(blocks.Metrics))
def test_metrics_take_what_the_block_has(name: str) -> None:
    taken = set(inspect.signature(METRIC_REGISTRY.get(f"calculate_{name}")).parameters)
    assert keys(blocks.Metric) - {"type", "better"} <= taken
    assert "better" in inspect.getsource(importlib.import_module("basicsr.models.base_model"))


def test_no_key_of_our_blocks_is_read_by_nothing() -> None:
    """Each stands as a text, or as a field of a typed block, in the sources of this package or of BasicSR."""
    places = [Path(compsrt_plugin.__file__).parent, Path(inspect.getfile(importlib.import_module("basicsr"))).parent]
    sources = [path for place in places for path in place.rglob("*.py") if path.parent.name != "config"]
    texts = {
        node.value
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    ours = [blocks.FILES, blocks.PATHS, blocks.TRAINS, blocks.VALS, *sets.DATA_SETS.values()]
    assert {key for variants in ours for key in keys(*variants.values())} - texts == set()
