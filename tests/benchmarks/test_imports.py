"""Every script in benchmarks/ imports names of the package that exist."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pages
import pytest

import compsrt_plugin

SCRIPTS = sorted((pages.ROOT / "benchmarks").rglob("*.py"))


def imported(script: Path) -> Iterator[tuple[str, str | None]]:
    """Yield module and name of each import from the package."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "compsrt_plugin":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] == "compsrt_plugin")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_a_script_imports_is_there(script: Path) -> None:
    compsrt_plugin.register()
    for module, name in imported(script):
        found = importlib.import_module(module)
        if name is not None and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
