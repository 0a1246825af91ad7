"""From a name or a path to a checked option file: find it, read it, apply `--force_yml`, parse its blocks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compsrt_plugin.config.files import find_option_file
from compsrt_plugin.config.reader import read_option_file

if TYPE_CHECKING:  # needs torch, which `basicsr test --help` does without
    from compsrt_plugin.config.check import Options

Preset = Callable[[Mapping[str, Any]], list[str]]
"""Returns the changes that a preset makes to options, as entries for `--force_yml`."""


@dataclass(frozen=True)
class OptionFile:
    """Hold an option file that was read and checked.

    Attributes:
        path: of the file.
        command: `train` or `test`.
        given: its options as they stand in the file.
        options: the same with all changes, as BasicSR reads them.
        typed: the same as typed blocks.
    """

    path: Path
    command: str
    given: dict[str, Any]
    options: dict[str, Any]
    typed: Options


def load_option_file(
    name_or_path: str, command: str | None = None, force_yml: Iterable[str] = (), presets: Sequence[Preset] = ()
) -> OptionFile:
    """Return the option file that the value of `-opt` names, checked.

    Args:
        name_or_path: a path, or the name of an installed file.
        command: `train` or `test`; None looks among the installed test files, and a file with a block `train:` is a
            train file.
        force_yml: changes, as `--force_yml` takes them; they have the last word.
        presets: changes that come before these, in order.

    Raises:
        CompSRTError: no such file, not YAML, or a key that is unknown, missing or has a wrong value.
    """
    path = find_option_file(name_or_path, command or "test")
    options = read_option_file(path)
    from compsrt_plugin.config.check import check_options  # after the file is found: it needs torch
    from compsrt_plugin.config.force_yml import apply_force_yml

    given = copy.deepcopy(options)
    for preset in presets:
        apply_force_yml(options, preset(options))
    apply_force_yml(options, force_yml)
    command = command or ("train" if "train" in options else "test")
    return OptionFile(path, command, given, options, check_options(options, command, path.name))
