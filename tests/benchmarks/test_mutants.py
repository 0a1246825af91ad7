"""The script that says which formulas no test holds tells held ones from others."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = '''
import functools

LIMIT = 3


class Counter:
    def __init__(self) -> None:
        self.total = 0

    @property
    def double(self) -> int:
        return self.total * 2

    @staticmethod
    def within(n: int) -> bool:
        return n < LIMIT


@functools.cache
def lowest(values: tuple[int, ...]) -> int:
    """Nothing here: 1 + 1."""
    if not values:
        raise ValueError(f"{1 + 1} values")
    return min(values)
'''
HELD = """
from mutated import *


def test_all():
    counter = Counter()
    assert counter.total == 0
    counter.total = 3
    assert counter.double == 6
    assert Counter.within(2) and not Counter.within(4)
    assert lowest((1, 2)) == 1
"""


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script() -> ModuleType:
    return load(Path(__file__).parents[2] / "benchmarks" / "mutants.py", "mutants_script")


def test_each_formula_is_changed_once_and_what_tests_do_not_hold_lives(script: ModuleType, tmp_path: Path):
    (tmp_path / "mutated.py").write_text(SOURCE)
    (tmp_path / "test_mutated.py").write_text(HELD)
    module = load(tmp_path / "mutated.py", "mutated")
    found = {mutant.function: mutant for mutant in script.mutants(tmp_path / "mutated.py", every=False)}
    # one a line: neither docstrings nor messages nor annotations are formulas
    assert {name: mutant.says for name, mutant in found.items() if name != "lowest"} == {
        "Counter.__init__": "0 -> 1",
        "Counter.double": "Mult -> Div",
        "Counter.within": "Lt -> LtE",
    }
    assert [m.says for m in script.mutants(tmp_path / "mutated.py", every=False) if m.function == "lowest"] == [
        "without Not",
        "min -> max",
    ]
    tests = [str(tmp_path / "test_mutated.py")]
    assert script.passes(None, None, tests, 60)
    (tmp_path / "test_skipped.py").write_text("import pytest\n@pytest.mark.skip\ndef test_all(): pass\n")
    assert not script.passes(None, None, [str(tmp_path / "test_skipped.py")], 60), "what is skipped holds nothing"
    assert script.lives(found["Counter.within"], module, tests, 60)  # nothing tries the limit itself
    assert not script.lives(found["Counter.double"], module, tests, 60)
    assert not script.lives(found["lowest"], module, tests, 60)
    assert module.lowest((1, 2)) == 1, "the module itself is as it was"
