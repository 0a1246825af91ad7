"""A folder in which the commands of the pages run on a small network and a few images."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_logger: None) -> Path:
    """The current folder, with the teacher and the images of the small run."""
    from training import tiny_run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path / "cache"))
    tiny_run.write_inputs(tmp_path)
    return tmp_path
