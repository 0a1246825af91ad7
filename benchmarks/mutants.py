"""Change the formulas of the package one expression at a time, and report the changes that no test notices.

    python benchmarks/mutants.py [quant/quantizer packed/bits …] [--all] [--timeout 120]

One expression of each line is changed (`--all`: each expression separately): + and -, * and /, < and <=, `and` and
`or`, min and max, floor and round, True and False, an integer by one, a float to its double, a minus sign or a `not`
removed. Then the tests of that file run until the first one fails. A mutant that lives is a line that no test checks,
or a change without effect.

A mutant is a child process in which one function has another code object: nothing is imported again and no file
changes.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import compsrt_plugin

ROOT = Path(compsrt_plugin.__file__).parent
TESTS = {
    "quant/quantizer": ("quant/test_quantizer.py", "quant/test_fake.py", "quant/test_convert.py"),
    "quant/fake": ("quant/test_fake.py", "quant/test_quantizer.py"),
    "quant/bounds/search": ("quant/bounds/test_search.py",),
    "quant/bounds/rows": ("quant/bounds/test_rows.py", "quant/bounds/test_search.py"),
    "quant/passes/gptq": ("quant/passes/test_gptq.py",),
    "quant/transforms/hadamard": ("quant/transforms/test_hadamard.py",),
    "quant/transforms/registry": ("quant/transforms/test_registry.py", "quant/transforms/test_hadamard.py"),
    "quant/passes/equalization": ("quant/passes/test_equalization.py",),
    "packed/bits": ("packed/test_bits.py",),
    "packed/coding": ("packed/test_bits.py", "packed/test_format.py", "packed/test_container.py"),
    "engine/fold": ("engine/test_edges.py", "engine/test_sums.py", "engine/test_engine.py"),
    "engine/describe": ("engine/test_edges.py", "engine/test_errors.py", "engine/test_engine.py"),
}
SWAPPED: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
RENAMED = {
    "min": "max", "max": "min", "amin": "amax", "amax": "amin", "floor": "round", "round": "floor", "ceil": "floor",
    "clamp_min": "clamp_max", "clamp_min_": "clamp_max_", "any": "all", "all": "any", "sqrt": "square",
    "argmin": "argmax",
}  # fmt: skip
NOT_FORMULAS = (ast.Assert, ast.Raise, ast.arguments, ast.AnnAssign, ast.JoinedStr)


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        line: in the file.
        says: the change in words.
        function: qualified name of the enclosing function.
        code: the changed code of that function.
    """

    line: int
    says: str
    function: str
    code: CodeType


def changed(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield replacements of a node, and the change in words."""
    new: Any = copy.deepcopy(node)
    if isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPPED:
        new.op = SWAPPED[type(node.op)]()
        yield new, f"{type(node.op).__name__} -> {type(new.op).__name__}"
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
        new.ops[0] = SWAPPED[type(node.ops[0])]()
        yield new, f"{type(node.ops[0]).__name__} -> {type(new.ops[0]).__name__}"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        yield node.operand, f"without {type(node.op).__name__}"
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = node.value
        new.value = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value * 2
        yield new, f"{value} -> {new.value}"
    elif isinstance(node, ast.Attribute) and node.attr in RENAMED:
        new.attr = RENAMED[node.attr]
        yield new, f"{node.attr} -> {new.attr}"
    elif isinstance(node, ast.Name) and node.id in ("min", "max", "any", "all", "round"):
        new.id = {**RENAMED, "round": "int"}[node.id]
        yield new, f"{node.id} -> {new.id}"


def mutants(path: Path, every: bool) -> Iterator[Mutant]:
    """Yield the mutants of a file's functions, one per line or all."""
    source = path.read_text()
    seen: set[int] = set()
    number = 0
    while True:
        tree = ast.parse(source)
        found = _change(tree, number)
        if found is None:
            return
        number += 1
        line, says, function = found
        if line in seen and not every:
            continue
        seen.add(line)
        code = _code_of(compile(ast.fix_missing_locations(tree), str(path), "exec"), function.split("."))
        if code is not None:
            yield Mutant(line, says, function, code)


def _change(tree: ast.AST, number: int) -> tuple[int, str, str] | None:
    """Apply the change of this number to a tree; return its line, its description and the enclosing function."""
    left = number

    def visit(node: ast.AST, function: tuple[str, ...], inside: bool) -> tuple[int, str, str] | None:
        nonlocal left
        for field, value in ast.iter_fields(node):
            children = value if isinstance(value, list) else [value]
            for position, child in enumerate(children):
                if not isinstance(child, ast.AST) or isinstance(child, NOT_FORMULAS) or field == "decorator_list":
                    continue
                if inside and isinstance(child, ast.expr):
                    for new, says in changed(child):
                        if left == 0:
                            new = ast.copy_location(new, child)
                            value.__setitem__(position, new) if isinstance(value, list) else setattr(node, field, new)
                            return child.lineno, says, ".".join(function)
                        left -= 1
                is_function = isinstance(child, ast.FunctionDef)
                named = (*function, child.name) if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else function
                outer = function if inside and is_function else named  # a nested function is within its outer one
                found = visit(child, outer, inside or is_function)
                if found:
                    return found
        return None

    return visit(tree, (), False)


def _code_of(code: CodeType, name: list[str]) -> CodeType | None:
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and constant.co_name == name[0]:
            return constant if len(name) == 1 else _code_of(constant, name[1:])
    return None


def function_of(module: Any, name: str) -> FunctionType | None:
    """Return a module's function of a qualified name; None if a wrapper hides it."""
    holder: Any = module
    for part in name.split("."):
        holder = vars(holder).get(part)
    while not isinstance(holder, FunctionType):
        if isinstance(holder, property):
            holder = holder.fget
        elif isinstance(holder, (staticmethod, classmethod, functools._lru_cache_wrapper)):
            holder = holder.__wrapped__
        else:
            return None
    return holder


def lives(mutant: Mutant, module: Any, tests: list[str], timeout: int) -> bool | None:
    """Return whether the tests pass with the mutant in place of a function; None if it cannot be replaced."""
    function = function_of(module, mutant.function)
    if function is None or function.__code__.co_freevars != mutant.code.co_freevars:
        return None
    return passes(function, mutant.code, tests, timeout)


def passes(function: FunctionType | None, code: CodeType | None, tests: list[str], timeout: int) -> bool:
    """Return whether the tests pass in a child process, with the given code for that function if any."""
    child = os.fork()
    if child == 0:
        if function is not None and code is not None:
            function.__code__ = code
        os._exit(_run(tests))
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


class _Counting:
    """Pytest plugin that counts passed and skipped tests."""

    def __init__(self) -> None:
        self.passed = self.skipped = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.passed += report.when == "call" and report.passed
        self.skipped += report.skipped


def _run(tests: list[str]) -> int:
    """Run the tests; return nonzero if one fails, or if most are skipped because compiled parts are missing."""
    import pytest

    counting = _Counting()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        failed = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[counting]))
    return failed or int(counting.skipped > counting.passed)


def main() -> int:
    """Print a line per living mutant and a count per file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", default=[*TESTS], help=f"of {', '.join(TESTS)}")
    parser.add_argument("--all", action="store_true", help="make every change separately, not one per line")
    parser.add_argument("--timeout", type=int, default=120, help="seconds after which a mutant counts as noticed")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads do not survive a fork
    folder = Path(__file__).parent.parent / "tests"
    sys.path.insert(0, str(folder))
    compsrt_plugin.register()
    for name in args.files:
        module = importlib.import_module(f"compsrt_plugin.{name.replace('/', '.')}")
        tests = [str(folder / test) for test in TESTS[name]]
        if not passes(None, None, tests, 10 * args.timeout):
            print(f"{name}: its tests fail or are skipped without a mutant", flush=True)
            return 1
        counts = {True: 0, False: 0}
        for mutant in mutants(ROOT / f"{name}.py", args.all):
            alive = lives(mutant, module, tests, args.timeout)
            if alive is None:
                continue
            counts[alive] += 1
            if alive:
                print(f"{name}.py:{mutant.line}: {mutant.says} in {mutant.function} lives", flush=True)
        print(f"{name}: {sum(counts.values())} mutants, {counts[False]} noticed, {counts[True]} live", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
