"""The plot of a training run has round numbers at its axes and marks the selected iteration."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from compsrt_plugin.training import loss_curve


def trainer(losses: list[float], judged: list[tuple[int, float]]) -> Any:
    best = max(judged, key=lambda point: point[1], default=(-1, float("-inf")))
    selection = types.SimpleNamespace(curve=judged, iteration=best[0], value=best[1])
    return types.SimpleNamespace(losses=[{"total": loss} for loss in losses], selection=selection)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 300], [0, 50, 100, 150, 200, 250, 300]),
        ([30.41, 31.52], [30.4, 30.6, 30.8, 31.0, 31.2, 31.4, 31.6]),
        ([0, 6], [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_ticks_are_round_and_hold_the_values_between_them(values: list[float], ticks: list[float]) -> None:
    assert loss_curve.nice_ticks(values) == pytest.approx(ticks)


@pytest.mark.parametrize("values", [[30.5], [0.0, 0.0], [-2.0, 1e5]])
def test_there_are_always_two_ticks_around_the_values(values: list[float]) -> None:
    ticks = loss_curve.nice_ticks(values)
    assert ticks[0] <= min(values) and ticks[-1] >= max(values) and 2 <= len(ticks) <= 9


def test_the_loss_has_ticks_at_one_two_and_five_times_powers_of_ten() -> None:
    assert [round(10**tick, 6) for tick in loss_curve._log_ticks([-2.0, -1.5])] == [0.01, 0.02, 0.05]


@pytest.mark.parametrize(
    ("losses", "judged", "panels"),
    [([0.1, 0.03, 0.01], [(0, 30.0), (3, 31.0)], 2), ([0.1], [], 1), ([0.0, 0.0], [(0, 30.0)], 2)],
    ids=["a run", "nothing judged", "nothing to lose"],
)
def test_title_axis_and_choice_are_written_on_it(
    losses: list[float], judged: list[tuple[int, float]], panels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    write = loss_curve.ImageDraw.ImageDraw.text

    def noted(draw: Any, place: Any, text: str, *how: Any, **named: Any) -> None:
        said.append(text)
        write(draw, place, text, *how, **named)

    monkeypatch.setattr(loss_curve.ImageDraw.ImageDraw, "text", noted)
    (tmp_path / "my_run").mkdir()
    loss_curve.save_curve(tmp_path / "my_run" / "curve.png", trainer(losses, judged))
    with Image.open(tmp_path / "my_run" / "curve.png") as picture:
        assert picture.size == (loss_curve.WIDTH, panels * loss_curve.HEIGHT)
    assert "my_run: loss of each iteration, logarithmic scale" in said
    assert said.count("iteration") == panels
    assert ("my_run: PSNR on held-out images, dB" in said) is (panels == 2)
    if len(judged) == 2:
        assert "ring: the selected iteration 3, 31.00 dB" in said
