"""A picture of how calibration went: loss and held-out PSNR over the iterations."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from compsrt_plugin.files import write_whole
from compsrt_plugin.models.training import Training
from compsrt_plugin.report.lettering import SMALLEST, draw_line

WIDTH, HEIGHT, MARGIN = 960, 340, 70  # of one panel, in pixels
INK, FAINT, COLOURS = "#202020", "#c8c8c8", ("#1f5fa8", "#b3541e")
Points = Sequence[tuple[float, float]]


def save_curve(path: Path, training: Training) -> None:
    """Write a PNG with two panels: the loss (smoothed, logarithmic) and the PSNR on held-out pictures.

    Args:
        path: of the file.
        training: the finished iterations; the PSNR panel is left out if nothing was judged.
    """
    losses = [values["total"] for values in training.losses]
    panels = [("loss, log10", smoothed([(i, math.log10(max(v, 1e-12))) for i, v in enumerate(losses, 1)]))]
    if training.choice.curve:
        panels.append(("PSNR on held-out pictures, dB", training.choice.curve))
    sheet = Image.new("RGB", (WIDTH, HEIGHT * len(panels)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (title, points) in enumerate(panels):
        _panel(draw, number * HEIGHT, title, points, max(1, len(losses)), COLOURS[number])
    content = io.BytesIO()
    sheet.save(content, "PNG")
    write_whole(path, content.getvalue())


def smoothed(points: Points, groups: int = 200) -> Points:
    """Return the means of at most `groups` neighbouring points.

    >>> smoothed([(1, 4.0), (2, 6.0), (3, 1.0), (4, 3.0)], groups=2)
    [(1.5, 5.0), (3.5, 2.0)]
    """
    size = max(1, math.ceil(len(points) / groups))
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _panel(draw: ImageDraw.ImageDraw, top: int, title: str, points: Points, last: int, colour: str) -> None:
    low, high = min(y for _, y in points), max(y for _, y in points)
    span = (high - low) or 1.0
    left, right, upper, lower = MARGIN, WIDTH - 20, top + 40, top + HEIGHT - 40
    draw_line(draw, (left, top + 10), title, SMALLEST + 2, INK, right - left)
    draw.rectangle((left, upper, right, lower), outline=FAINT)
    for share in (0.0, 0.5, 1.0):
        y = round(lower - share * (lower - upper))
        draw.line((left, y, right, y), FAINT)
        draw_line(draw, (6, y - SMALLEST // 2 - 2), f"{low + share * span:.2f}", SMALLEST, INK, MARGIN - 10)
    draw_line(draw, (left, lower + 8), "0", SMALLEST, INK, 100)
    draw_line(draw, (right - 160, lower + 8), f"{last} iterations", SMALLEST, INK, 160)
    places = [(left + x / last * (right - left), lower - (y - low) / span * (lower - upper)) for x, y in points]
    draw.line(places, colour, 2)
    for x, y in places if len(places) < 60 else []:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), colour)
