"""Make the package work from its source folder without an installation.

In a source folder, `archs/` and `options/` are next to the package, and compiled parts exist only if they were built
there (for example by `pip install -e .`). Python uses this folder if it is on the path, as with `python -m
compsrt_plugin`, `torchrun -m compsrt_plugin` and scripts, even if the package is installed too.
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
    """Finds `BESIDE` in the folder of the package. It is last on `sys.meta_path`, so other finders come first."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, [str(PACKAGE.parent)], target) if fullname in BESIDE else None


def find_beside() -> None:
    """Make `compsrt_plugin.archs` and `compsrt_plugin.options` importable from a source folder."""
    if _Beside not in sys.meta_path:
        sys.meta_path.append(_Beside)


def in_source_folder() -> bool:
    """Return whether this is a source folder and not an installed package."""
    return not (PACKAGE / INSIDE[0]).is_dir()


@cache
def compiled(folder: str, name: str) -> Path | None:
    """Return the file of the compiled library.

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
    """Return the next step for a user without compiled parts."""
    if in_source_folder():
        return f"build it with a C++ compiler: cd {PACKAGE.parent}, then {sys.executable} setup.py build_ext --inplace"
    return (
        "install g++ (or another C++ compiler), then the package once more: pip install --force-reinstall --no-deps …"
    )


def _installed() -> Iterator[Path]:
    """Yield other installations of this package."""
    for distribution in importlib.metadata.distributions(name=PACKAGE.name):
        place = Path(str(distribution.locate_file(PACKAGE.name)))
        if place != PACKAGE and place.is_dir():
            yield place


def _same_sources(ours: Path, theirs: Path) -> bool:
    def contents(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("*.py")}

    return contents(ours) == contents(theirs)
