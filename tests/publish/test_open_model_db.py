"""An entry for OpenModelDB holds to the rules by which that site checks its data."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_networks import save, small_network

from compsrt_plugin.cli.main import main
from compsrt_plugin.packed import bundled
from compsrt_plugin.publish.open_model_db import architecture_id, entry_id

OPTIONS = ["--author", "your-id", "--url", "https://host/releases/"]

# The site's rules (its src/lib/schema.ts, model-props.ts, schema-util.ts and license.ts), in words of our own.
TEXT, NUMBER, LIST = str, int, list
FIELDS = {  # key -> type, and whether null is allowed
    **{name: (TEXT, False) for name in ("name", "description", "date", "architecture", "author")},
    **{name: (NUMBER, False) for name in ("scale", "inputChannels", "outputChannels")},
    **{name: (LIST, False) for name in ("tags", "resources", "images")},
    **{"license": (TEXT, True), "size": (LIST, True)},
}
ARCHITECTURES = {"swinir", "dat", "hat", "srformer", "omnisr", "atd", "rgt", "esrgan", "compact", "edsr", "grl"}
TAGS = {"general-upscaler", "photo", "restoration", "research", "pretrained", "denoise", "jpeg", "faces", "anime"}
TYPES = {("pytorch", "pth"), ("pytorch", "safetensors"), ("onnx", "onnx")}
KNOWN_LICENSES = {"Apache-2.0", "MIT", "CC-BY-4.0", "CC0-1.0"}


def broken_rules(path: Path) -> list[str]:
    """Return what the site would complain of."""
    entry = json.loads(path.read_text(encoding="utf-8"))
    said = [key for key in FIELDS.keys() ^ entry.keys()]
    for key, (kind, optional) in FIELDS.items():
        if type(entry.get(key)) is not kind and not (optional and entry.get(key) is None):
            said.append(f"{key} is no {kind.__name__}")
    scale = entry["scale"]
    rules = {
        "id": re.fullmatch(rf"{scale}x(-[a-zA-Z0-9]+)+", path.stem),
        "id repeats the scale": not re.match(rf"{scale}x-({scale}x|x{scale})", path.stem, re.IGNORECASE),
        "id ends with the scale": not re.search(rf"-(x{scale}|{scale}x)$", path.stem, re.IGNORECASE),
        "author": re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", entry["author"]),
        "description": entry["description"] == entry["description"].strip() != "",
        "date": re.fullmatch(r"\d{4}-\d\d-\d\d", entry["date"]),
        "architecture": entry["architecture"] in ARCHITECTURES,
        "tags": entry["tags"] and set(entry["tags"]) <= TAGS,
        "size": entry["size"] is None or (entry["size"] and all(entry["size"])),
        "scale": 1 <= scale <= 16,
        "channels": all(1 <= entry[f"{end}Channels"] <= 4 for end in ("input", "output")),
        "license": entry["license"] is None or set(entry["license"].split(" OR ")) <= KNOWN_LICENSES,
        "resources": entry["resources"] and all(map(_allowed, entry["resources"])),
    }
    return [*said, *(name for name, holds in rules.items() if not holds)]


def _allowed(resource: dict[str, Any]) -> bool:
    return (
        resource.keys() == {"platform", "type", "size", "sha256", "urls"}
        and (resource["platform"], resource["type"]) in TYPES
        and type(resource["size"]) is int
        and resource["size"] >= 1
        and re.fullmatch("[0-9a-f]{64}", resource["sha256"]) is not None
        and len(resource["urls"]) >= 1
        and all(re.fullmatch(r"https?://[\w.-]+(/[\w.%~-]+)+", url, re.ASCII) for url in resource["urls"])
    )


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save(tmp_path / "mine.safetensors", small_network())


def entry_of(name: str, *options: str) -> Path:
    assert main(["export", name, "--openmodeldb", "models", *OPTIONS, *options]) == 0
    (path,) = Path("models").iterdir()
    return path


@pytest.mark.parametrize("name", ["mine", "4xMine", "x4", "mine_x4", "Ä €_x4.2", "4x4", "x4_x4_mine", "(4x) mine"])
def test_whatever_the_file_is_called_the_entry_holds_to_the_rules(packed: Path, name: str) -> None:
    packed.rename(f"{name}.safetensors")
    assert broken_rules(entry_of(f"{name}.safetensors")) == []


@pytest.mark.parametrize("license_id", ["apache-2.0", "MIT", "cc-by-4.0 OR Mit"])
def test_a_license_is_spelled_as_there(packed: Path, license_id: str) -> None:
    assert broken_rules(entry_of("mine.safetensors", "--license", license_id)) == []


@pytest.mark.parametrize("network", ["dat_light_x2_3bit", "compsrt_x3_2bit"])
def test_the_entries_of_bundled_networks_hold_to_the_rules(packed: Path, network: str) -> None:
    assert broken_rules(entry_of(str(bundled.local_path(network)))) == []


@pytest.mark.parametrize(
    ("arch", "wanted"),
    [
        ({"type": "CompSRTNet", "base": {"spandrel": "ESRGAN", "class": "RRDBNet"}}, "esrgan"),
        ({"type": "CompSRTNet", "base": {"type": "My_Net"}}, "my-net"),
        ({"type": "CompSRTSwinIR"}, "swinir"),
    ],
)
def test_an_architecture_has_the_name_by_which_it_is_known(arch: dict[str, Any], wanted: str) -> None:
    source: Any = SimpleNamespace(header=SimpleNamespace(arch=arch))
    assert architecture_id(source) == wanted


def test_files_are_described(packed: Path) -> None:
    shutil.copy(packed, "a file.onnx")
    entry = json.loads(entry_of("mine.safetensors", "--onnx-file", "a file.onnx").read_text())
    first, second = entry["resources"]
    assert (entry["scale"], entry["architecture"], entry["size"]) == (4, "swinir", ["3bit"])
    assert (first["size"], first["sha256"]) == (
        packed.stat().st_size,
        hashlib.sha256(packed.read_bytes()).hexdigest(),
    )
    assert first["urls"] == ["https://host/releases/mine.safetensors"]
    assert (second["platform"], second["urls"]) == ("onnx", ["https://host/releases/a%20file.onnx"])


def test_the_rules_of_this_test_find_mistakes(packed: Path) -> None:
    path = entry_of("mine.safetensors")
    entry = json.loads(path.read_text())
    changes = {"author": "Me", "date": "today", "inputChannels": 5, "tags": [], "size": [], "architecture": "rrdbnet"}
    for key, wrong in changes.items():
        path.write_text(json.dumps({**entry, key: wrong}))
        assert broken_rules(path), key
    path.write_text(json.dumps({**entry, "more": 1}))
    assert broken_rules(path) == ["more"]


def test_an_id_keeps_its_words() -> None:
    assert entry_id("4x_foo-bar", 4) == "4x-foo-bar" and entry_id("x2net", 4) == "4x-x2net" and entry_id("x4", 4) == ""
