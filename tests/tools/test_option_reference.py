"""The reference of the options and their JSON schema are what the typed blocks say, and the schema fits the files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.config.typed import Block, fields_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import option_reference

FILES = [(command, path) for command in ("train", "test") for path in option_files(command).values()]
ALL_BLOCKS = {block for members in option_reference.SECTIONS.values() for block in members}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((option_reference.DOCS / option_reference.SCHEMA).read_text()))


def test_page_and_schema_are_in_step_with_the_types() -> None:
    # in a process of its own: other tests register transforms and hooks
    checked = subprocess.run([sys.executable, option_reference.__file__, "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_difference_is_found_and_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(option_reference, "DOCS", tmp_path)
    assert option_reference.main(["--check"]) == 1
    assert option_reference.main([]) == 0 and option_reference.main(["--check"]) == 0


@pytest.mark.parametrize("block", sorted(ALL_BLOCKS, key=str), ids=lambda block: block.__name__)
def test_every_key_is_described(block: type[Block]) -> None:
    described = option_reference.descriptions(block)
    assert set(fields_of(block)) <= set(described)


def test_the_schema_is_one(validator: jsonschema.Draft202012Validator) -> None:
    jsonschema.Draft202012Validator.check_schema(validator.schema)


@pytest.mark.parametrize(("command", "path"), FILES, ids=[f"{command}/{path.stem}" for command, path in FILES])
def test_every_installed_file_fits_the_schema(
    validator: jsonschema.Draft202012Validator, command: str, path: Path
) -> None:
    assert [error.message for error in validator.iter_errors(read_option_file(path))] == []


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        ("test", "quant.bits", 9),
        ("test", "quant.bit", 3),
        ("test", "quant.recipe", "comsrt"),
        ("train", "quant.overrides", {"*.fc2": {"transform": "dct"}}),
        ("train", "train.scheduler.type", "Cosine"),
        ("train", "train.optim_g.lr", "fast"),
        ("train", "datasets.train.gt_sizes", 64),
        ("test", "datasets.train", {"type": "CompSRTPairedDataset"}),
        ("test", "network_g.embed_dm", 60),
        ("test", "val.metrics.psnrr", {}),
    ],
)
def test_a_mistake_does_not_fit(validator: jsonschema.Draft202012Validator, command: str, key: str, value: Any) -> None:
    options = read_option_file(option_files(command)["compsrt_x4_3bit"])
    block, names = options, key.split(".")
    for name in names[:-1]:
        block = block[name]
    block[names[-1]] = value
    assert list(validator.iter_errors(options))


def test_files_of_other_models_are_not_judged(validator: jsonschema.Draft202012Validator) -> None:
    assert not list(validator.iter_errors({"model_type": "SRModel", "train": {"pixel_opt": {"type": "L1Loss"}}}))
