"""What a packed checkpoint says about itself, read with as little trust as the rest of the file."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.container import damaged
from compsrt_plugin.packed.inflate import inflate
from compsrt_plugin.quant.spec import MAX_BITS, MIN_BITS, NetworkSpec

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}

MAX_OPTIONS = 1 << 18  # bytes of the option file's text


def pack_options(text: str) -> str:
    """Return an option file's text as `provenance.options` holds it: zlib in base 85, a kilobyte instead of three."""
    return base64.b85encode(zlib.compress(text.encode(), 9)).decode()


def unpack_options(packed: str) -> str:
    """Return the text again; nothing in it is used but to be shown.

    Raises:
        ValueError: it is not what `pack_options` made, or longer than `MAX_OPTIONS`.
    """
    return inflate(base64.b85decode(packed), MAX_OPTIONS, "it")


@dataclass(frozen=True)
class Header:
    """The header of a packed checkpoint, checked.

    Attributes:
        arch: the `network_g` block: `type` and the network's arguments, which whoever builds it checks.
        spec: how the network is quantized.
        scale: `arch["upscale"]`.
        bits: nominal code width.
        recipe: name of the recipe it was made by.
        weights_trained: whether weights were trained, or bounds alone.
        options: the option file it was made with, resolved, as YAML; None in a file that does not say.
        provenance: everything recorded about how it was made, the options packed; only bits, recipe and
            weights_trained are relied upon.
    """

    arch: dict[str, Any]
    spec: NetworkSpec
    scale: int
    bits: int
    recipe: str
    weights_trained: bool
    options: str | None
    provenance: dict[str, Any]

    @classmethod
    def parse(cls, header: Mapping[str, Any], source: str | Path, tensors: Iterable[str] | None = None) -> Header:
        """Check a header and everything in it that is read later.

        Args:
            header: `Packed.header`.
            source: the file, for messages.
            tensors: names of the tensors in the file, if its network is to be built.

        Raises:
            CompSRTError: something is missing, of the wrong type, or not allowed.
        """
        path = Path(source)
        arch = _entry(header, "arch", dict, path)
        provenance = _entry(header, "provenance", dict, path)
        bits = _entry(provenance, "bits", int, path)
        if not MIN_BITS <= bits <= MAX_BITS:
            raise damaged(path, f"its header says bits is {bits}, not {MIN_BITS} to {MAX_BITS}")
        _entry(arch, "type", str, path)
        given = _entry(header, "spec", dict, path)
        try:
            spec = NetworkSpec.from_dict(given)
        except CompSRTError as error:
            raise damaged(path, f"the spec in its header is not allowed ({error})") from error
        if tensors is not None:
            spec = _as_written(spec, tensors)
        return cls(
            arch=arch,
            spec=spec,
            scale=_entry(arch, "upscale", int, path),
            bits=bits,
            recipe=_entry(provenance, "recipe", str, path),
            weights_trained=_entry(provenance, "weights_trained", bool, path),
            options=_options(provenance, path),
            provenance=provenance,
        )


def _as_written(spec: NetworkSpec, tensors: Iterable[str]) -> NetworkSpec:
    """Return the spec by which a file's network was made: in the first files `keep` beat even later overrides.

    Where nothing that an override keeps is quantized in the file, both readings make the same network.
    """
    quantizers = {name.removesuffix("_quantizer.lower") for name in tensors if name.endswith("_quantizer.lower")}
    for name in quantizers:
        layer = re.sub(r"\.?(attention|product)\d+$", "", name.rpartition(".")[0])  # groups are no layers
        if any(values.get("keep") for _, values in spec.matching(layer, name)):
            return spec
    return spec.keeping_first()


def _options(provenance: Mapping[str, Any], path: Path) -> str | None:
    if "options" not in provenance:
        return None
    packed = _entry(provenance, "options", str, path)
    try:
        return unpack_options(packed)
    except ValueError as error:
        raise damaged(path, f"the option file in its header is unreadable ({error})") from error


def _entry(block: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    """Return an entry of exactly this type (True is no integer here)."""
    value = block.get(key)
    if type(value) is not kind:
        found = _KINDS.get(type(value), "of another kind") if key in block else "missing"
        raise damaged(path, f"the entry {key!r} of its header is {found}, not {_KINDS[kind]}")
    return value
