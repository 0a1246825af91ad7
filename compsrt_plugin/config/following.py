"""Adapt the options that depend on `scale` and `quant.bits` when the command line changes either.

An option file states its scale and bits in several places: in its name (and so in the folder of the results), in
`network_g.upscale`, in the border that metrics leave out, in the names of low-resolution images, in `gt_size`. If one
place alone changed, a run would use the wrong border and write into the wrong folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compsrt_plugin.config.blocks import QuantBlock
from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.reader import read_option_file

Path = tuple[str, ...]


def follow_changes(options: dict[str, Any], original: Mapping[str, Any], forced: Sequence[Path]) -> list[str]:
    """Adapt the dependent options in place, and return a description of each change.

    A value changes only if it is still the file's, not one from the command line. If the file has the name of an
    installed file, every value changes in which the installed file for the new scale and bits differs, such as the
    learning rate.

    Args:
        options: the options after `--force_yml`.
        original: the options in the file.
        forced: paths of the keys that `--force_yml` set.
    """
    before, after = _scale_and_bits(original), _scale_and_bits(options)
    if before == after:
        return []
    told = []
    for path, value in [*_by_rule(original, before, after), *_by_installed_files(original, before, after)]:
        given = any(path[: len(key)] == key[: len(path)] for key in forced)
        if not given and _value(options, path) != value:
            _value(options, path[:-1])[path[-1]] = value
            told.append(f"{'.'.join(path)} is {value}")
    return told


def _scale_and_bits(options: Mapping[str, Any]) -> tuple[int, int]:
    """Return the scale and the bits; 0 for one that is missing or not an integer."""
    quant = options.get("quant")
    bits = quant.get("bits", QuantBlock().bits) if isinstance(quant, Mapping) else 0
    scale, bits = (value if type(value) is int and value > 0 else 0 for value in (options.get("scale"), bits))
    return scale, bits


def _renamed(name: str, before: tuple[int, int], after: tuple[int, int]) -> str:
    """Replace the scale and the bits in a name.

    >>> _renamed("compsrt_x4_3bit", (4, 3), (2, 4)), _renamed("mine", (4, 3), (2, 4))
    ('compsrt_x2_4bit', 'mine')
    """
    if before[0] and after[0]:
        name = re.sub(rf"(?<=[xX]){before[0]}(?!\d)", str(after[0]), name)
    if before[1] and after[1]:
        name = re.sub(rf"(?<!\d){before[1]}(?=[-_ ]?bit)", str(after[1]), name)
    return name


def _by_rule(
    original: Mapping[str, Any], before: tuple[int, int], after: tuple[int, int]
) -> Iterator[tuple[Path, Any]]:
    """Yield path and new value of each option that states the scale or the bits."""
    (scale, _), (new_scale, _) = before, after
    if isinstance(original.get("name"), str):
        yield ("name",), _renamed(original["name"], before, after)
    if scale == new_scale or not scale or not new_scale:
        return
    metrics = _value(original, ("val", "metrics"))
    borders = [("val", "metrics", name, "crop_border") for name in metrics] if isinstance(metrics, Mapping) else []
    for path in [("network_g", "upscale"), ("network_g", "base", "upscale"), *borders]:
        if _value(original, path) == scale:
            yield path, new_scale
    datasets = original.get("datasets")
    for phase in datasets if isinstance(datasets, Mapping) else ():
        path = ("datasets", phase)
        template, side = _value(original, (*path, "filename_tmpl")), _value(original, (*path, "gt_size"))
        if isinstance(template, str):
            yield (*path, "filename_tmpl"), _renamed(template, (scale, 0), (new_scale, 0))
        if type(side) is int and side % scale == 0:
            yield (*path, "gt_size"), side // scale * new_scale


def _by_installed_files(
    original: Mapping[str, Any], before: tuple[int, int], after: tuple[int, int]
) -> Iterator[tuple[Path, Any]]:
    """Yield path and new value of each option in which two installed files differ, if it has the first file's value."""
    name, files = str(original.get("name")), option_files("train" if "train" in original else "test")
    new_name = _renamed(name, before, after)
    if name == new_name or name not in files or new_name not in files:
        return
    old, new = read_option_file(files[name]), read_option_file(files[new_name])
    for path in _leaves(new):
        # the user chooses the weights that a run starts from
        if path[0] != "path" and _value(old, path) != _value(new, path) and _value(original, path) == _value(old, path):
            yield path, _value(new, path)


def _leaves(block: Mapping[str, Any], above: Path = ()) -> Iterator[Path]:
    for name, value in block.items():
        if isinstance(value, Mapping) and name != "distill":
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name)


def _value(options: Mapping[str, Any], path: Path) -> Any:
    """Return the value at a path, None where there is none."""
    value: Any = options
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
