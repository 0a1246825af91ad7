"""The entry of a network in OpenModelDB: one JSON file in `data/models` of its repository.

The fields are those of `src/lib/schema.ts` and `src/lib/model-props.ts` there, and ids are spelled as
`src/lib/schema-util.ts` spells them. What a packed file does not say (the description, images, the data set) is left
for its author to write in the JSON or in the site's own editor.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed.download import file_sha256
from compsrt_plugin.packed.open import PackedNetwork
from compsrt_plugin.publish.hub import architecture_of

AUTHOR = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
PLATFORMS = {".safetensors": "pytorch", ".onnx": "onnx"}
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
LICENSE = re.compile("[a-z0-9.-]+( OR [a-z0-9.-]+)*", re.IGNORECASE)
# SPDX identifiers whose terms the site shows; another spelling is an unknown license there.
LICENSES = (
    *("Apache-2.0", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"),
    *("GPL-3.0-only", "MIT", "Unlicense", "WTFPL"),
)


def write_entry(
    folder: Path,
    source: PackedNetwork,
    files: Sequence[Path],
    *,
    author: str,
    url: str,
    license_id: str | None = None,
    date: str | None = None,
) -> Path:
    """Write the entry of a packed network.

    Args:
        folder: `data/models` of a checkout of OpenModelDB, or any other.
        source: the packed network.
        files: the files to offer: the packed one, and its ONNX file if there is one.
        author: their id in OpenModelDB, lower case with hyphens.
        url: where the files will be; a file's name is appended.
        license_id: SPDX identifier, or several with OR between them; None: not known.
        date: of the release, YYYY-MM-DD; None: today.

    Returns:
        The JSON file, named by the network's id.

    Raises:
        CompSRTError: an argument is not allowed, a file is missing, or the folder cannot be written.
    """
    if not AUTHOR.fullmatch(author):
        raise CompSRTError(f"the author is {author!r}", allowed="lower-case letters and digits, with hyphens between")
    if not re.match("https?://", url):
        raise CompSRTError(f"the URL is {url!r}", allowed="http:// or https://, the folder that the files will be in")
    if date is not None and not DAY.fullmatch(date):
        raise CompSRTError(f"the date is {date!r}", allowed="YYYY-MM-DD")
    if license_id is not None and not LICENSE.fullmatch(license_id):
        raise CompSRTError(f"the license is {license_id!r}", allowed="an SPDX identifier, or several with OR between")
    header, name = source.header, source.path.stem
    architecture = architecture_id(source)
    channels = int(header.arch.get("in_chans") or getattr(source.network, "channels", 3))
    entry = {
        "name": name,
        "author": author,
        "license": None if license_id is None else _spelled(license_id),
        "tags": ["general-upscaler", "photo"],
        "description": f"{architecture_of(source)} quantized to {header.bits} bits (recipe {header.recipe}). The "
        "safetensors file is a packed file of compsrt_plugin, which runs it on processors without a GPU.",
        "date": date or datetime.date.today().isoformat(),
        "architecture": architecture,
        "size": [f"{header.bits}bit"],
        "scale": header.scale,
        "inputChannels": channels,
        "outputChannels": channels,
        "resources": [_resource(path, url) for path in files],
        "images": [],
    }
    path = folder / f"{entry_id(name, header.scale) or entry_id(architecture, header.scale)}.json"
    write_whole(path, (json.dumps(entry, indent=4, ensure_ascii=False) + "\n").encode())
    return path


def entry_id(name: str, scale: int) -> str:
    """Return the id of a model: its scale, then its name in letters, digits and hyphens, without a second scale.

    It is empty if nothing of the name is left.

    >>> entry_id("compsrt_x4_3bit", 4), entry_id("4xNomos", 4)
    ('4x-compsrt-3bit', '4x-Nomos')
    """
    words = re.sub("[^a-zA-Z0-9]+", "-", name).split("-")
    words[0] = re.sub(f"^({scale}x|x{scale}$)", "", words[0], flags=re.IGNORECASE)
    kept = [word for word in words if word and word.lower() not in (f"x{scale}", f"{scale}x")]
    return "-".join([f"{scale}x", *kept]) if kept else ""


def architecture_id(source: PackedNetwork) -> str:
    """Return the id of an architecture: spandrel's name of it where that is known, in lower case with hyphens."""
    base = source.header.arch.get("base")
    name = base.get("spandrel") if isinstance(base, dict) else None
    return re.sub("[^a-z0-9+]+", "-", (name or architecture_of(source)).lower()).strip("-")


def _spelled(license_id: str) -> str:
    known = {name.lower(): name for name in LICENSES}
    return " OR ".join(known.get(part.lower(), part) for part in license_id.split(" OR "))


def _resource(path: Path, url: str) -> dict[str, Any]:
    if path.suffix not in PLATFORMS or not path.is_file():
        raise CompSRTError(f"{path} cannot be offered", allowed="existing files: .safetensors, .onnx")
    return {
        "platform": PLATFORMS[path.suffix],
        "type": path.suffix[1:],
        "size": path.stat().st_size,
        "sha256": file_sha256(path),
        "urls": [f"{url.rstrip('/')}/{quote(path.name)}"],
    }
