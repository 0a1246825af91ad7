"""Write the last column of the table of rooms in docs/architecture.md: what each room of the package imports.

    python tools/house.py [--check]

Order and descriptions of the rooms are written by hand. Rooms of the first line, the ground floor, are left out of the
column. `--check` writes nothing and fails if the column is out of date.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = "compsrt_plugin"
FOLDERS = {f"{PACKAGE}.archs": ROOT / "archs", PACKAGE: ROOT / PACKAGE}
EVERYTHING = "everything"


def names(cell: str) -> list[str]:
    """Return the names in a cell of a table, each in backquotes."""
    return re.findall(r"`([\w.]+)`", cell)


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without the table's own heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def rooms(page: str) -> dict[str, list[str]]:
    """Return the line of each room, in order."""
    return {name: cells for cells in table(page, "Rooms") for name in names(cells[0])}


@cache
def modules() -> dict[str, Path]:
    """Return the file of each module of the package."""
    found = {}
    for prefix, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = [prefix, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def room_of(module: str, known: Sequence[str]) -> str:
    """Return the room of a module, the longest name that it begins with; the module itself if there is none."""
    inner = module.removeprefix(f"{PACKAGE}.")
    found = [name for name in known if inner == name or inner.startswith(f"{name}.")]
    return max(found, key=len) if found else module


def imports(module: str) -> Iterator[tuple[str, bool]]:
    """Yield each module that a module imports from the package, and whether it does so only inside a function."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {node for function in functions for node in ast.walk(function)}
    conditions = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    for_types = {n for c in conditions if "TYPE_CHECKING" in ast.unparse(c.test) for n in ast.walk(c)}
    for node in ast.walk(tree):
        found: list[str] = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE and node not in for_types:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in modules() else str(node.module) for name in inner]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE]
        yield from ((name, node in inside) for name in found)


def arrows(known: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield each pair of rooms of which the first imports the second, and whether only inside a function."""
    for module in modules():
        here = room_of(module, known)
        for other, late in imports(module):
            there = room_of(other, known)
            if there != here:
                yield here, there, late


def with_imports(page: str) -> str:
    """Return the page with the column of imports as the code has it now."""
    known = list(rooms(page))
    ground = names(table(page, "Rooms")[0][0])
    found = {(here, there) for here, there, _ in arrows(known) if known.index(there) < known.index(here)}
    for cells in table(page, "Rooms"):
        if cells[2] == EVERYTHING:
            continue
        here = names(cells[0])
        theirs = [name for name in known if name not in ground and any((room, name) in found for room in here)]
        column = ", ".join(f"`{name}`" for name in theirs if name not in here)
        start = f"| {cells[0]} | {cells[1]} | "
        page = re.sub(re.escape(start) + r".*", lambda _, line=f"{start}{column} |": line, page)
    return page


def main() -> int:
    """Write the column, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the column is out of date")
    args = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    wanted = with_imports(page)
    if not args.check:
        PAGE.write_text(wanted, encoding="utf-8")
    return 1 if args.check and wanted != page else 0


if __name__ == "__main__":
    sys.exit(main())
