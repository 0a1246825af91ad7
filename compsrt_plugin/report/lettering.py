"""Legible text on pictures, with the scalable font that comes with Pillow."""

from __future__ import annotations

from functools import cache

from PIL import ImageDraw, ImageFont

SMALLEST = 14
"""Below this size, in pixels, text on a picture is no longer legible."""


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font at `size` pixels; it holds the Latin letters, and no other script."""
    return ImageFont.load_default(size=size)


def line_height(size: int) -> int:
    """Return the distance in pixels from one line of text to the next."""
    return round(size * 1.35)


def draw_line(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, colour: str, width: int) -> None:
    """Draw one line of text whose upper left corner is `place`, never wider than `width` pixels.

    A text that is too long becomes smaller, down to `SMALLEST`, and is then cut with an ellipsis.
    """
    # Placed by the baseline, so that a text made smaller still stands on one line with its neighbours.
    baseline = (place[0], place[1] + size)
    while size > SMALLEST and font(size).getlength(text) > width:
        size -= 1
    shown = text
    while text and font(size).getlength(shown) > width:
        text = text[:-1]
        shown = f"{text.rstrip()}..." if text else ""
    draw.text(baseline, shown, colour, font(size), anchor="ls")
