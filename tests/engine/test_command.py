"""`basicsr test --engine` judges the engine beside the simulated network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from places import Place

from compsrt_plugin.engine import engine_available
from compsrt_plugin.native import loading


@pytest.mark.skipif(not engine_available(), reason="the engine is not compiled here")
def test_both_figures_are_in_table_and_files(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("test", "--engine") == 0
    scores = json.loads(Path("results/run/results.json").read_text())["datasets"]["Mine"]
    assert abs(scores["engine"]["psnr"] - scores["quantized"]["psnr"]) < 0.005
    assert scores["per_image"]["p.png"]["engine"] == scores["engine"]
    assert "| engine |" in Path("results/run/results.md").read_text()
    assert "engine" in capsys.readouterr().out


def test_without_the_extension_it_is_a_mistake(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "library", lambda: None)
    assert place.run("test", "--engine") == 2
    assert "compiled library is missing" in capsys.readouterr().err
