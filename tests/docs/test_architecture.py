"""docs/architecture.md draws the house as it is: its rooms, and which room imports which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pages
import pytest

PAGE = pages.sections(pages.read("docs/architecture.md"))
PACKAGE = "compsrt_plugin"
FOLDERS = {f"{PACKAGE}.archs": pages.ROOT / "archs", PACKAGE: pages.ROOT / PACKAGE}


def rows(section: str) -> list[list[str]]:
    """Return the cells of a table's lines, without its heading."""
    lines = [line.strip("|").split("|") for line in PAGE[section].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", cell)


ROOMS = {name: cells for cells in rows("Rooms") for name in names(cells[0])}
LATE = {(names(cells[0])[0], name) for cells in rows("Imports that go up") for name in names(cells[1])}


@cache
def modules() -> dict[str, Path]:
    """Return the file of each module of the package."""
    found = {}
    for prefix, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = [prefix, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def room(module: str) -> str:
    """Return the room of a module: the longest name in the table that it begins with."""
    inner = module.removeprefix(f"{PACKAGE}.")
    found = [name for name in ROOMS if inner == name or inner.startswith(f"{name}.")]
    return max(found, key=len) if found else module


def imports(module: str) -> Iterator[tuple[str, bool]]:
    """Yield each room that a module imports, and whether it does so only inside a function."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {node for function in functions for node in ast.walk(function)}
    for_types = {
        node
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and "TYPE_CHECKING" in ast.unparse(test.test)
        for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        found: list[str] = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE and node not in for_types:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in modules() else str(node.module) for name in inner]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE]
        yield from ((room(name), node in inside) for name in found)


def test_every_module_has_a_room_and_every_room_is_there() -> None:
    taken = {room(module) for module in modules()}
    assert taken == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_rooms_above_it_in_the_table(name: str) -> None:
    order = list(ROOMS)
    above = order[: order.index(name) + 1]
    found = {(name, other, late) for module in modules() if room(module) == name for other, late in imports(module)}
    assert sorted((one, other) for one, other, late in found if other not in above and not late) == []
    assert sorted((one, other) for one, other, late in found if other not in above and late) == sorted(
        pair for pair in LATE if pair[0] == name
    )
