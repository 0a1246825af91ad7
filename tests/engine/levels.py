"""The levels of instructions that this processor has."""

from __future__ import annotations

import pytest

from compsrt_plugin.engine.library import LEVEL_VARIABLE, LEVELS, library


def _found() -> list[str]:
    loaded = library()
    return [name for name in LEVELS if loaded is not None and loaded.compsrt_level(name.encode())]


LEVELS_HERE = _found()


def forced(level: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let engines use this level until the test is over."""
    monkeypatch.setenv(LEVEL_VARIABLE, level)
    return level
