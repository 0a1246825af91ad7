"""Write the reference of the options, `docs/options.md`, and their JSON schema, `docs/options.schema.json`.

Both follow from the typed blocks in `compsrt_plugin/config`: names, types and defaults from the fields, descriptions
from the docstrings. Run `python tools/option_reference.py` after a block has changed; `--check` only compares.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import msgspec.inspect as kinds

from compsrt_plugin.config import blocks, data_set_blocks, network_g, pipeline_blocks, train_blocks
from compsrt_plugin.config.recipes import RECIPES
from compsrt_plugin.config.typed import Block, fields_of, in_words, unwrapped
from compsrt_plugin.quant.passes import PASSES
from compsrt_plugin.quant.passes.guard import GuardBlock

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, SCHEMA = "options.md", "options.schema.json"
OURS = data_set_blocks.DATA_SETS[data_set_blocks.OURS]

INTRODUCTION = """\
# Options

Every key of an option file that our commands, models and data sets read. An unknown key is an error, and the message
names the nearest known one. `--force_yml block:key=value` changes a key from the command line.

`tools/option_reference.py` writes this page. Editors complete and check option files by
[options.schema.json](options.schema.json): put this line at the top of a file of your own, with the path of the schema.

    # yaml-language-server: $schema=docs/options.schema.json
"""
SECTIONS: dict[str, tuple[type[Block], ...]] = {
    "The whole file": (pipeline_blocks.TrainFile,),
    "quant": (
        blocks.QuantBlock,
        blocks.OverrideBlock,
        blocks.CalibrationBlock,
        GuardBlock,
    ),
    "prune": (blocks.PruneBlock,),
    "distill": (blocks.DistillBlock,),
    "tile": (blocks.TileBlock,),
    "path": (pipeline_blocks.TrainPath,),
    "train": (
        train_blocks.TeacherTrain,
        train_blocks.Adam,
        train_blocks.Cosine,
        train_blocks.MultiStep,
    ),
    "val": (pipeline_blocks.TrainVal, pipeline_blocks.TestVal, pipeline_blocks.Metrics, pipeline_blocks.Metric),
    "logger, dist_params": (pipeline_blocks.Logger, pipeline_blocks.Wandb, pipeline_blocks.DistParams),
    "datasets": (
        OURS[data_set_blocks.TRAINING_SET],
        OURS[data_set_blocks.JUDGED_SET],
        data_set_blocks.MemcachedBackend,
    ),
    "network_g": (network_g.SwinIRBlock, network_g.FileBase),
}


def descriptions(block: type[Block]) -> dict[str, str]:
    """Return the description of each key, from the section `Attributes:` of the docstrings of a block and its bases."""
    found: dict[str, str] = {}
    for kind in block.__mro__:
        found = {**(_attributes(kind) if issubclass(kind, Block) else {}), **found}
    for part in block.parts:
        found = {**descriptions(part), **found}
    added = {name: unwrapped(entry.type)[1].get("about") for name, entry in fields_of(block).items()}
    return found | {name: about for name, about in added.items() if about}


def _attributes(block: type[Block]) -> dict[str, str]:
    text = inspect.cleandoc(block.__dict__.get("__doc__") or "")
    _, _, text = text.partition("Attributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, flags=re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in entries}


def summary(block: type[Block]) -> str:
    """Return the first sentence of a block's docstring."""
    return inspect.cleandoc(block.__doc__ or "").split("\n")[0]


def page() -> str:
    """Return `docs/options.md`."""
    recipes = [f"| `{name}` | {recipe.about} |" for name, recipe in RECIPES.items()]
    parts = [INTRODUCTION]
    for section, members in SECTIONS.items():
        parts.append(f"## {section}\n")
        for block in members:
            parts += [f"{summary(block)}\n", *_table(block), ""]
    return "\n".join([*parts, "## Recipes\n", "| recipe | |", "|---|---|", *recipes, ""])


def _table(block: type[Block]) -> Iterator[str]:
    told = descriptions(block)
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    for name, entry in fields_of(block).items():
        cells = (f"`{name}`", in_words(entry.type), _default(entry), told[name])
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(entry: kinds.Field) -> str:
    if entry.required:
        return "needed"
    if entry.default_factory is not msgspec.NODEFAULT:
        value = entry.default_factory()
        return "" if isinstance(value, Block) or value == {} else f"`{json.dumps(value)}`"
    if entry.default is msgspec.NODEFAULT:
        return ""
    return f"`{entry.default}`" if isinstance(entry.default, str) else f"`{json.dumps(entry.default)}`"


def schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of the option files of our models."""
    files = pipeline_blocks.FILES.values()
    members = {
        *files,
        *pipeline_blocks.PATHS.values(),
        *pipeline_blocks.VALS.values(),
        *pipeline_blocks.TRAINS.values(),
    }
    members |= {kind for variants in data_set_blocks.DATA_SETS.values() for kind in variants.values()}
    kinds_of_blocks = sorted({*members, network_g.SwinIRBlock}, key=lambda kind: kind.__name__)
    _, definitions = msgspec.json.schema_components(kinds_of_blocks, ref_template="#/$defs/{name}")
    keys, of_passes = _pass_schemas()
    definitions |= of_passes
    properties = definitions["QuantBlock"]["properties"]
    definitions["QuantBlock"]["properties"] = {
        name: part
        for key, value in properties.items()
        for name, part in (keys if key == "passes" else {key: value}).items()
    }
    for block in _all_blocks(kinds_of_blocks):
        _describe(definitions[block.__name__], block)
    definitions["SwinIRBlock"]["properties"]["type"] = {"const": "CompSRTSwinIR"}
    for command in ("Train", "Test"):
        properties = definitions[f"{command}File"]["properties"]
        properties["path"] = _reference(f"{command}Path")
        properties["val"] = {"anyOf": [_reference(f"{command}Val"), {"type": "null"}]}
        properties["network_g"] = _by_type({"CompSRTSwinIR": "SwinIRBlock"})
        properties["datasets"] = _data_sets(command)
    definitions["TrainFile"]["properties"]["train"] = _reference("TeacherTrain")
    ours = {"properties": {"model_type": {"enum": list(pipeline_blocks.TRAINS)}}}
    files_of_ours = {"if": {"required": ["train"]}, "then": _reference("TrainFile"), "else": _reference("TestFile")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Option file of compsrt_plugin",
        "type": "object",
        "if": ours,
        "then": files_of_ours,
        "$defs": dict(sorted(definitions.items())),
    }


def _pass_schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of the key of each calibration pass, and the definitions that these refer to."""
    types = [step.kind | blocks.AsRecipe for step in PASSES.values()]
    schemas, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    return {name: {**part, "default": blocks.AS_RECIPE} for name, part in zip(PASSES, schemas)}, definitions


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _by_type(definitions: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema of a block whose `type` says what else it holds; other types may hold anything."""
    cases = [
        {"if": {"properties": {"type": {"const": kind}}}, "then": _reference(name)}
        for kind, name in definitions.items()
    ]
    return {"type": "object", "required": ["type"], "allOf": cases}


def _data_sets(command: str) -> dict[str, Any]:
    variants = data_set_blocks.DATA_SETS.items()
    training = _by_type({kind: of[data_set_blocks.TRAINING_SET].__name__ for kind, of in variants})
    judged = _by_type({kind: of[data_set_blocks.JUDGED_SET].__name__ for kind, of in variants})
    if command == "Test":
        return {"type": "object", "patternProperties": {"^(test|val)": judged}, "additionalProperties": False}
    return {
        "type": "object",
        "properties": {"train": training},
        "patternProperties": {"^val": judged},
        "required": ["train"],
        "additionalProperties": False,
    }


def _all_blocks(members: list[type[Block]]) -> set[type[Block]]:
    """Return the blocks and all blocks within them."""
    found: set[type[Block]] = set()
    waiting = [kinds.type_info(block) for block in members]
    while waiting:
        kind = unwrapped(waiting.pop())[0]
        if isinstance(kind, kinds.StructType) and kind.cls not in found:
            block = cast("type[Block]", kind.cls)
            found.add(block)
            waiting += [entry.type for entry in fields_of(block).values()]
        elif isinstance(kind, kinds.UnionType):
            waiting += kind.types
        elif isinstance(kind, kinds.DictType):
            waiting.append(kind.value_type)
    return found


def _describe(definition: dict[str, Any], block: type[Block]) -> None:
    """Put in what msgspec does not know: descriptions, names of registries, null for a block of defaults."""
    definition["description"] = summary(block)
    told = descriptions(block)
    for name, entry in fields_of(block).items():
        schema = definition["properties"][name]
        kind = unwrapped(entry.type)[0]
        parts = kind.types if isinstance(kind, kinds.UnionType) else (entry.type,)
        for extra in (unwrapped(part)[1] for part in parts):
            if "names" in extra and not extra["own"]:
                text = next(part for part in schema.get("anyOf", [schema]) if part.get("type") == "string")
                text["enum"] = list(extra["names"]())
        definition["properties"][name] = {"description": told[name], **schema}


def _lines(value: dict[str, Any]) -> str:
    """Return JSON with one definition a line."""
    definitions = ",\n".join(f"{json.dumps(name)}: {json.dumps(part)}" for name, part in value["$defs"].items())
    rest = {name: part for name, part in value.items() if name != "$defs"}
    return f'{json.dumps(rest)[:-1]}, "$defs": {{\n{definitions}\n}}}}\n'


def files() -> dict[str, str]:
    """Return what the tool writes: file name in `docs/` to its text."""
    return {PAGE: page(), SCHEMA: _lines(schema())}


def main(argv: list[str] | None = None) -> int:
    """Write both files, or compare them; return 1 if `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog="python tools/option_reference.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args(argv).check
    wrong = 0
    for name, text in files().items():
        path = DOCS / name
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.stdout.write(f"out of step: {path}\n")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
