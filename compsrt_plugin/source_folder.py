"""Started from its source folder, the package finds what an installation puts inside it.

`archs/` and `options/` lie beside the package there, and the compiled parts are there only if they were built there
(`pip install -e .` does). Python takes that folder for the package wherever it is on the path: with
`python -m compsrt_plugin`, `torchrun -m compsrt_plugin` and scripts, whatever is installed besides.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import itertools
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent
INSIDE = ("archs", "options")  # setup.py installs them inside the package
BESIDE = (*(f"{PACKAGE.name}.{name}" for name in INSIDE), f"{PACKAGE.name}_startup")


class _Beside:
    """Finds `BESIDE` in the folder that holds the package; last on `sys.meta_path`, so never before others."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, [str(PACKAGE.parent)], target) if fullname in BESIDE else None


def find_beside() -> None:
    """Make `compsrt_plugin.archs` and `compsrt_plugin.options` importable from a source folder too."""
    if _Beside not in sys.meta_path:
        sys.meta_path.append(_Beside)


def in_source_folder() -> bool:
    """Tell whether this is a source folder, not an installed package."""
    return not (PACKAGE / INSIDE[0]).is_dir()


@cache
def compiled(folder: str, name: str) -> Path | None:
    """Return a compiled part of the package.

    Where this folder has none, an installed one serves whose Python side is the same to the byte: what is handed to
    its functions is then what they expect.

    Args:
        folder: of the package.
        name: without the ending.
    """
    for place in itertools.chain([PACKAGE], _installed()):
        if place != PACKAGE and not _same_sources(PACKAGE / folder, place / folder):
            continue
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            if (path := place / folder / f"{name}{suffix}").is_file():
                return path
    return None


def how_to_build() -> str:
    """Return the next step of a user who lacks a compiled part."""
    if in_source_folder():
        return f"build it with a C++ compiler: cd {PACKAGE.parent}, then {sys.executable} setup.py build_ext --inplace"
    return (
        "install g++ (or another C++ compiler), then the package once more: pip install --force-reinstall --no-deps …"
    )


def _installed() -> Iterator[Path]:
    """Yield where this package is installed besides."""
    for distribution in importlib.metadata.distributions(name=PACKAGE.name):
        place = Path(str(distribution.locate_file(PACKAGE.name)))
        if place != PACKAGE and place.is_dir():
            yield place


def _same_sources(ours: Path, theirs: Path) -> bool:
    def contents(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("*.py")}

    return contents(ours) == contents(theirs)
