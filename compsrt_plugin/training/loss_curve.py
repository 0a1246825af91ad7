"""A plot of a training run: loss and PSNR on held-out images over the iterations."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from compsrt_plugin.files import write_whole
from compsrt_plugin.report.drawing import draw_line, font

if TYPE_CHECKING:
    from compsrt_plugin.training.trainer import Trainer

FINER = 2  # drawn this many times larger, then shrunk: smooth lines
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 380, 96, 32, 64, 60  # of one panel and its margins, in pixels
TITLE, TEXT = 20, 15
INK, GREY, FAINT, PAPER, COLOURS = "#202020", "#606060", "#e4e4e4", "#ffffff", ("#1f5fa8", "#b3541e")
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One curve.

    Attributes:
        title: title with the unit.
        points: (iteration, value).
        ticks: values that get a horizontal line.
        label: value -> the text at its line.
        marked: a point to mark (iteration, value, text), or None.
    """

    title: str
    points: Points
    ticks: Sequence[float]
    label: Callable[[float], str]
    marked: tuple[float, float, str] | None = None


def save_curve(path: Path, trainer: Trainer) -> None:
    """Write a PNG with two panels: the loss (smoothed, logarithmic) and the PSNR on held-out images.

    Args:
        path: of the file; its folder names the run.
        trainer: the finished iterations; the PSNR panel is left out if nothing was scored.
    """
    losses = [values["total"] for values in trainer.losses]
    logarithms = smoothed([(i, math.log10(max(v, 1e-12))) for i, v in enumerate(losses, 1)])
    title = f"{path.parent.name}: loss of each iteration, logarithmic scale"
    ticks = _log_ticks([y for _, y in logarithms])
    panels = [Panel(title, logarithms, ticks, lambda tick: f"{10**tick:.2g}")]
    selection = trainer.selection
    if selection.curve:
        ticks = nice_ticks([y for _, y in selection.curve])
        decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
        text = f"ring: the selected iteration {selection.iteration}, {selection.value:.2f} dB"
        marked = (selection.iteration, selection.value, text) if selection.iteration >= 0 else None
        title = f"{path.parent.name}: PSNR on held-out images, dB"
        panels.append(Panel(title, selection.curve, ticks, lambda tick: f"{tick:.{decimals}f}", marked))
    sheet = Image.new("RGB", (FINER * WIDTH, FINER * HEIGHT * len(panels)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, panel in enumerate(panels):
        _draw(draw, FINER * number * HEIGHT, panel, max(1, len(losses)), COLOURS[number])
    content = io.BytesIO()
    sheet.resize((WIDTH, HEIGHT * len(panels)), Image.Resampling.LANCZOS).save(content, "PNG")
    write_whole(path, content.getvalue())


def smoothed(points: Points, groups: int = 200) -> Points:
    """Return the points averaged in at most `groups` groups of neighbours.

    >>> smoothed([(1, 4.0), (2, 6.0), (3, 1.0), (4, 3.0)], groups=2)
    [(1.5, 5.0), (3.5, 2.0)]
    """
    size = max(1, math.ceil(len(points) / groups))
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def nice_ticks(values: Sequence[float], most: int = 6) -> list[float]:
    """Return 2 to `most` + 2 equally spaced round numbers that enclose the values.

    Their distance is 1, 2 or 5 times a power of ten.

    >>> nice_ticks([0, 300])
    [0.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0]
    """
    low, high = min(values), max(values)
    span = max(high - low, 1e-3)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(times * power for times in (1, 2, 5, 10) if times * power * most >= span * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _log_ticks(logarithms: Sequence[float]) -> list[float]:
    """Return the logarithms of 1, 2 and 5 times powers of ten that enclose the values."""
    low, high = min(logarithms), max(logarithms)
    steps = [power + math.log10(times) for power in range(-13, 13) for times in (1, 2, 5)]
    below = max((step for step in steps if step <= low + 1e-9), default=steps[0])
    above = min((step for step in steps if step >= high - 1e-9 and step > below), default=steps[-1])
    inner = [step for step in steps if below <= step <= above]
    return inner if len(inner) <= 8 else [step for step in inner if step.is_integer() or step in (below, above)]


def _draw(draw: ImageDraw.ImageDraw, top: int, panel: Panel, last: int, colour: str) -> None:
    left, right = FINER * LEFT, FINER * (WIDTH - RIGHT)
    upper, lower = top + FINER * TOP, top + FINER * (HEIGHT - BOTTOM)
    low, high = panel.ticks[0], panel.ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x / last * (right - left), lower - (y - low) / (high - low) * (lower - upper)

    size, text = FINER * TITLE, font(FINER * TEXT)
    draw_line(draw, (left, top + FINER * 20), panel.title, size, INK, right - left)
    for tick in panel.ticks:
        y = place(0, tick)[1]
        draw.line((left, y, right, y), FAINT, FINER)
        draw.text((left - FINER * 10, y), panel.label(tick), GREY, text, anchor="rm")
    for tick in nice_ticks([0, last]):
        if tick <= last and float(tick).is_integer():
            x = place(tick, low)[0]
            draw.line((x, lower, x, lower + FINER * 5), GREY, FINER)
            draw.text((x, lower + FINER * 8), f"{tick:.0f}", GREY, text, anchor="mt")
    draw.line((left, lower, right, lower), GREY, FINER)
    draw.text(((left + right) / 2, lower + FINER * 32), "iteration", GREY, text, anchor="mt")
    places = [place(x, y) for x, y in panel.points]
    draw.line(places, colour, 2 * FINER, joint="curve")
    for x, y in places if len(places) < 60 else []:
        draw.ellipse((x - 3 * FINER, y - 3 * FINER, x + 3 * FINER, y + 3 * FINER), colour)
    if panel.marked is not None:
        x, y = place(*panel.marked[:2])
        draw.ellipse((x - 7 * FINER, y - 7 * FINER, x + 7 * FINER, y + 7 * FINER), outline=INK, width=FINER)
        draw.text((right, top + FINER * (20 + TITLE)), panel.marked[2], GREY, text, anchor="rs")
