"""Resolve the arguments of `basicsr compare`: option files, packed files, weight files and result folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from compsrt_plugin.compare.loaded import Loaded, from_options, from_packed, from_weights
from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.load import load_option_file
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import is_packed, read_packed, weights_file
from compsrt_plugin.packed.header import Header
from compsrt_plugin.packed.open import find_packed
from compsrt_plugin.report import Results, read_results

SourceKind = Literal["option file", "packed file", "weight file", "result folder"]
_FEWEST = 2  # the baseline and another source
RESULTS = "results.json"


@dataclass(frozen=True)
class Source:
    """A source of the comparison, read as far as needed to check whether it can be compared.

    Attributes:
        name: unique display name.
        given: the path or name on the command line.
        kind: kind of source.
        scale: its upscaling factor.
        padding: its padding of images to whole windows; None if not defined.
        metrics: its `val.metrics` block; None if not defined.
        data_sets: its `datasets` block; None if not defined.
        results: the content of a result folder; None for a network.
        load: builds the network; None for a result folder.
    """

    name: str
    given: str
    kind: SourceKind
    scale: int
    padding: str | None = None
    metrics: Mapping[str, Any] | None = None
    data_sets: Mapping[str, Mapping[str, Any]] | None = None
    results: Results | None = None
    load: Callable[[], Loaded] | None = None

    @property
    def folder(self) -> Path:
        """Path of a result folder."""
        return Path(self.given).expanduser()


def find_sources(arguments: Sequence[str]) -> list[Source]:
    """Return the sources of the arguments, in their order.

    Args:
        arguments: `PATH`, or `NAME=PATH` for another name.

    Raises:
        CompSRTError: there are fewer than two, a file is missing or cannot be compared, or a name occurs twice.
    """
    if len(arguments) < _FEWEST:
        found = f"{arguments[0]} alone is given" if arguments else "nothing is given"
        raise CompSRTError(f"{found}; a comparison needs {_FEWEST} or more", hint="see basicsr compare --help")
    sources = [_source(argument) for argument in arguments]
    for name, count in Counter(source.name for source in sources).items():
        if count > 1:
            first, second, *_ = [source.given for source in sources if source.name == name]
            raise CompSRTError(
                f"{first} and {second} are both called {name}",
                allowed="a name for each",
                hint=f"give names: old={first} new={second}",
            )
    return sources


def _source(argument: str) -> Source:
    name, given = _split(argument)
    if _is_option_file(given):
        return _option_file(name, given)
    path = Path(given).expanduser()
    if os.path.isdir(path):  # unlike Path.is_dir, accepts a name that is too long for the file system
        return _result_folder(name, given)
    if is_packed(weights_file(given, expected="an option file, a packed file, weights or a result folder")):
        return _packed_file(name, given, path)
    return _weight_file(name, given)


def _split(argument: str) -> tuple[str | None, str]:
    """Return (name, path) of `NAME=PATH`. An existing path with an equals sign is a path.

    >>> _split("old=results/a"), _split("results/a")
    (('old', 'results/a'), (None, 'results/a'))
    """
    name, sign, path = argument.partition("=")
    if not sign or not name or "/" in name or os.path.exists(Path(argument).expanduser()):
        return None, argument
    return name, path


def _is_option_file(given: str) -> bool:
    return given.endswith((".yml", ".yaml")) or (given in option_files("test") and not os.path.exists(given))


def _option_file(name: str | None, given: str) -> Source:
    file = load_option_file(given)
    options = file.options
    if file.command == "train":  # it means the network that it makes
        return _packed_file(name or options["name"], given, find_packed(given))
    return Source(
        name=name or options["name"],
        given=given,
        kind="option file",
        scale=options["scale"],
        padding=getattr(file.typed.val, "padding", "reflect"),
        metrics=options["val"].get("metrics"),
        data_sets=options["datasets"],
        load=partial(from_options, file),
    )


def _packed_file(name: str | None, given: str, path: Path) -> Source:
    header = Header.parse(read_packed(path).header, path)
    return Source(
        name or path.stem, given, "packed file", header.scale, load=partial(from_packed, path)
    )  # fmt: skip


def _weight_file(name: str | None, given: str) -> Source:
    loaded = from_weights(given)  # the scale is only known from the network
    return Source(name or Path(given).stem, given, "weight file", loaded.scale, load=lambda: loaded)


def _result_folder(name: str | None, given: str) -> Source:
    file = Path(given).expanduser() / RESULTS
    if not file.is_file():
        raise CompSRTError(
            f"{given} is a folder without {RESULTS}", allowed="a folder that `basicsr test` wrote, results/NAME"
        )
    results = read_results(file)
    return Source(
        name=name or results.name,
        given=given,
        kind="result folder",
        scale=results.scale,
        padding=results.padding,
        metrics=results.metrics,
        results=results,
    )
