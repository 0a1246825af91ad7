"""The levels of instructions that this processor has."""

from __future__ import annotations

import pytest

from compsrt_plugin import native

LEVELS_HERE = [level.name for level in native.levels()]


def forced(level: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Use this level until the test is over."""
    monkeypatch.setenv(native.LEVEL_VARIABLE, level)
    return level


def named(name: str) -> native.Level:
    """Return one of the levels that this processor has."""
    return next(level for level in native.levels() if level.name == name)
