"""No two public functions or classes of the package have one name, so that a name says which thing is meant."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import compsrt_plugin

PACKAGE = Path(compsrt_plugin.__file__).parent
FOLDERS = {"archs": PACKAGE.parent / "archs", "": PACKAGE}
MEANT = {
    "add_arguments": "each command declares its flags",
    "apply": "each file of `basicsr_compat` applies its repairs",
    "in_torch": "each operator has its fallback",
    "load": "the notebook's, and spandrel's word for the same",
    "main": "programs",
    "run": "each command runs",
    "selective_scan": "the operator and its kernel",
}
AS_IN_C = "native.structures"  # its classes have the names of the structures in csrc


def public_names() -> dict[str, list[str]]:
    """Return each public name of a function or class -> the modules that define it."""
    found: dict[str, list[str]] = defaultdict(list)
    for prefix, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            module = ".".join([*filter(None, [prefix]), *path.relative_to(folder).with_suffix("").parts])
            if module == AS_IN_C:
                continue
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                    found[node.name].append(module)
    return found


def test_a_public_name_is_defined_once() -> None:
    twice = {name: modules for name, modules in public_names().items() if len(set(modules)) > 1}
    assert {name: modules for name, modules in twice.items() if name not in MEANT} == {}
    assert twice.keys() >= MEANT.keys(), "a name in the list is not defined twice any more"
