"""Write results.json atomically, and read it with full validation."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.report.results import METHODS, DatasetScores, FileRecord, ImageScores, Results, Score

_HINT = "run `basicsr test` to write it again"


def write_results(results: Results, path: str | os.PathLike[str], indent: int | None = 2) -> None:
    """Write `results` as JSON.

    Args:
        results: the results.
        path: the file.
        indent: spaces per level. None writes one line, which takes half the bytes.

    Raises:
        CompSRTError: the file cannot be written.
        TypeError, ValueError: `metrics` or `extra` hold a value that JSON has not (an object, NaN).
    """
    # Strict JSON: NaN and Infinity, which Python would write, are not part of it.
    text = json.dumps(results.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)
    write_whole(path, text.encode() + b"\n")


def read_results(path: str | os.PathLike[str]) -> Results:
    """Return the results of a file that `write_results` wrote.

    Unknown keys are kept in `extra`. Counts and means are computed from the images. A file with other counts or means
    is refused, because one of the two must be wrong.

    Raises:
        CompSRTError: the file is missing, not JSON, lacks a key, or has a wrong or contradictory value.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CompSRTError(f"cannot read {path}: {error.strerror or error}", hint=_HINT) from error
    except (ValueError, RecursionError) as error:
        raise CompSRTError(f"{path} is not a JSON file: {error}", hint=_HINT) from error
    return _results(_Node(data, str(path)))


class _Node:
    """A JSON value with its place in the file, which errors name."""

    def __init__(self, value: Any, file: str, key: str = "") -> None:
        self.value, self.file, self.key = value, file, key

    def __getitem__(self, name: str) -> _Node:
        key = f"{self.key}.{name}" if self.key else name
        if name not in self.mapping():
            raise CompSRTError(f"{self.file}: {key} is missing", hint=_HINT)
        return _Node(self.value[name], self.file, key)

    def __contains__(self, name: str) -> bool:
        return name in self.mapping()

    def wrong(self, allowed: str) -> CompSRTError:
        shown = json.dumps(self.value, ensure_ascii=False)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return CompSRTError(f"{self.file}: {self.key or 'the file'} is {shown}", allowed=allowed)

    def mapping(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return self.value

    def items(self) -> list[tuple[str, _Node]]:
        return [(name, self[name]) for name in self.mapping()]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.wrong("text")
        return self.value

    def whole(self, least: int) -> int:
        # True is an int in Python, but not a number in JSON.
        if type(self.value) is not int or self.value < least:
            raise self.wrong(f"an integer of {least} or more")
        return self.value

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def number(self) -> float:
        if type(self.value) not in (int, float) or not math.isfinite(self.value):
            raise self.wrong("a number")
        return float(self.value)


def _results(node: _Node) -> Results:
    results = Results(
        name=node["name"].text(),
        scale=node["scale"].whole(1),
        bits=node["bits"].whole(1),
        bytes=node["bytes"].whole(1),
        float_bytes=node["float_bytes"].whole(1),
        padding=node["padding"].text(),
        metrics=node["metrics"].mapping(),
        codes=node["codes"].text(),
        recipe=node["recipe"].text(),
        weights_trained=node["weights_trained"].flag(),
        distinct_codes={name: count.whole(0) for name, count in node["distinct_codes"].items()},
        other_bits={name: bits.whole(1) for name, bits in node["other_bits"].items()},
        versions={name: version.text() for name, version in node["versions"].items()},
        files={role: _file(file) for role, file in node["files"].items()},
        datasets={name: _dataset(scores) for name, scores in node["datasets"].items()},
    )
    _must_equal(node["max_distinct_codes"], results.max_distinct_codes, "the most in distinct_codes")
    own = results.to_dict()
    results.extra = {key: value for key, value in node.mapping().items() if key not in own}
    return results


def _file(node: _Node) -> FileRecord:
    return FileRecord(node["path"].text(), node["sha256"].text(), node["bytes"].whole(0))


def _dataset(node: _Node) -> DatasetScores:
    dataset = DatasetScores()
    for name, scores in node["per_image"].items():
        try:
            dataset.add(name, _image(scores))
        except ValueError as error:
            raise CompSRTError(f"{node.file}: {node.key}: {error}") from error
    if not dataset.per_image:
        raise node["per_image"].wrong("at least one image")
    _must_equal(node["images"], len(dataset.per_image), "the number of images in per_image")
    mean = dataset.mean.to_dict()
    for method in METHODS:
        if (method in node) != (method in mean):
            raise CompSRTError(f"{node.file}: {node.key} has {method} as mean or per image, but not both")
        for metric, value in mean.get(method, {}).items():
            _must_equal(node[method][metric], value, "the mean over per_image")
    return dataset


def _image(node: _Node) -> ImageScores:
    def optional(method: str) -> Score | None:
        return _score(node[method]) if method in node else None

    return ImageScores(_score(node["quantized"]), optional("bicubic"), optional("teacher"), optional("engine"))


def _score(node: _Node) -> Score:
    psnr = math.inf if node["psnr"].value == "inf" else node["psnr"].number()
    return Score(psnr, node["ssim"].number() if "ssim" in node else None)


def _must_equal(node: _Node, expected: float | str | None, meaning: str) -> None:
    """Raise CompSRTError for a stored number that contradicts the data it is computed from."""
    if isinstance(expected, (int, float)) and type(node.value) in (int, float):
        same = math.isclose(node.value, expected, rel_tol=1e-9)
    else:
        same = node.value == expected
    if not same:
        raise node.wrong(f"{expected} ({meaning})")
