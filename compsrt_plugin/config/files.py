"""Find option files: by path, or by the name of one that is installed with the package."""

from __future__ import annotations

import difflib
import importlib.resources
from pathlib import Path

from compsrt_plugin.errors import CompSRTError


def option_files(command: str) -> dict[str, Path]:
    """Return the installed option files of a subcommand, by name without `.yml`, sorted.

    Args:
        command: `train` or `test`.
    """
    try:
        folder = Path(str(importlib.resources.files(f"compsrt_plugin.options.{command}")))
    except ModuleNotFoundError:
        return {}
    return {path.stem: path for path in sorted(folder.glob("*.yml"))}


def command_line(command: str, scale: int, bits: int, *forced: str) -> str:
    """Return the command that trains or tests at this scale and code width, for a hint.

    Args:
        command: `train` or `test`.
        scale, bits: of the network. If no installed option file has both, the command changes one that is installed, or
            names a file of the user's.
        forced: further changes, in the form of `--force_yml`.
    """
    name, near = f"compsrt_x{scale}_{bits}bit", f"compsrt_x{scale}_4bit"
    installed = option_files(command)
    if name not in installed and near in installed:
        forced = (f"name={name}", f"quant:bits={bits}", *forced)
        file = f"{near}.yml"
    else:
        file = f"{name}.yml" if name in installed else f"YOUR_FILE.yml (scale: {scale}, quant: {{bits: {bits}}})"
    return " ".join(["basicsr", command, "-opt", file, *(["--force_yml", *forced] if forced else [])])


def find_option_file(name_or_path: str, command: str) -> Path:
    """Return the option file that the value of `-opt` names.

    A file at that path comes first, then the installed files of `command`. A name may lack `.yml`.

    Raises:
        CompSRTError: there is no such file; lists the nearest names.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    installed = option_files(command)
    name = name_or_path[: -len(".yml")] if name_or_path.endswith(".yml") else name_or_path
    if name in installed:
        return installed[name]
    if path.is_dir():
        raise CompSRTError(f"-opt {name_or_path} is a folder", allowed="an option file, or an installed name")
    near = difflib.get_close_matches(name, installed, n=4, cutoff=0.4) or list(installed)
    raise CompSRTError(
        f"no option file {name_or_path!r}: no such path, and no installed file of `basicsr {command}`",
        hint=f"nearest names: {', '.join(near)}" if near else "no option files are installed: pip install .",
    )
