"""The table of keys against BasicSR's sources: a key that BasicSR reads is known, one that nothing reads is not."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.models import lr_scheduler
from basicsr.utils import file_client
from basicsr.utils.registry import METRIC_REGISTRY

import compsrt_plugin
from compsrt_plugin.config import tables
from compsrt_plugin.config.checks import anything
from compsrt_plugin.config.keys import Key, Table
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
ANY = Key(anything())
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


def knows(path: tuple[str, ...]) -> bool:
    block, key = path[:-1], path[-1]
    by_block: dict[tuple[str, ...], list[Table]] = {
        (): list(tables.FOREIGN_FILE.values()),
        ("datasets",): [{"train": ANY}],
        ("datasets", "train"): [tables.FOREIGN_SET[tables.TRAINING_SET]],
        ("path",): list(tables.FOREIGN_PATH.values()),
        ("train",): [tables.FOREIGN_TRAIN],
        ("val",): list(tables.FOREIGN_VAL.values()),
        ("logger",): [tables.LOGGER],
        ("logger", "wandb"): [tables.WANDB],
        ("train", "optim_g"): [tables.ADAM, {"type": ANY}],
        ("train", "scheduler"): [{"type": ANY}],
    }
    assert block in by_block, f"BasicSR has a block {block}"
    return any(key in table for table in by_block[block])


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
def test_the_keys_of_basicsrs_data_sets_are_those_of_the_table(module: str, kind: str) -> None:
    known = {key for table in tables.DATA_SETS[kind].values() for key in table}
    assert known - set(tables.LOADING_TO_TRAIN) - set(tables.NAMES) == keys_of_data_set(module)


@pytest.mark.parametrize(
    ("table", "called", "filled_in"),
    [
        (tables.BY_SCHEDULER["MultiStepLR"], lr_scheduler.MultiStepRestartLR, {"optimizer", "last_epoch"}),
        (tables.BY_SCHEDULER[tables.COSINE], lr_scheduler.CosineAnnealingRestartLR, {"optimizer", "last_epoch"}),
        (tables.IO["disk"], file_client.HardDiskBackend, {"args", "kwargs"}),
        (tables.IO["lmdb"], file_client.LmdbBackend, {"db_paths", "client_keys", "_"}),
        (tables.IO["memcached"], file_client.MemcachedBackend, set()),
    ],
    ids=["steps", "cosine", "disk", "lmdb", "memcached"],
)
def test_what_basicsr_is_called_with_is_what_it_takes(table: Table, called: Any, filled_in: set[str]) -> None:
    assert set(table) == set(inspect.signature(called).parameters) - filled_in


def test_adam_takes_what_the_table_has() -> None:
    assert set(tables.ADAM) <= set(inspect.signature(torch.optim.Adam).parameters)


@pytest.mark.parametrize("name", tables.REPORTED)
def test_metrics_take_what_the_table_has(name: str) -> None:
    taken = set(inspect.signature(METRIC_REGISTRY.get(f"calculate_{name}")).parameters)
    assert set(tables.METRIC) - {"type", "better"} <= taken
    assert "better" in inspect.getsource(importlib.import_module("basicsr.models.base_model"))


def test_no_key_of_our_tables_is_read_by_nothing() -> None:
    """Each stands as a text, or as a field of a typed block, in the sources of this package or of BasicSR."""
    places = [Path(compsrt_plugin.__file__).parent, Path(inspect.getfile(importlib.import_module("basicsr"))).parent]
    sources = [path for place in places for path in place.rglob("*.py") if path.parent.name != "config"]
    texts = {
        node.value
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    ours = [tables.FILE, tables.PATH, tables.TRAIN, tables.VAL, *tables.DATA_SETS.values()]
    known = {key for block in ours for table in block.values() for key in table}
    assert known - texts == set()
