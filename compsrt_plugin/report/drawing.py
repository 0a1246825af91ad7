"""Draw with Pillow: the colours and text of every drawing, and conversion from and to files.

Text uses the scalable font that comes with Pillow.
"""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = "#fcfbf8", "#22252b", "#6d727b"

SMALLEST = 14
"""Text smaller than this, in pixels, is not legible."""


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font at `size` pixels. It has Latin letters only."""
    return ImageFont.load_default(size=size)


def line_height(size: int) -> int:
    """Return the distance in pixels from one line of text to the next."""
    return round(size * 1.35)


def draw_line(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, colour: str, width: int) -> None:
    """Draw one line of text with its upper left corner at `place`, at most `width` pixels wide.

    Text that is too long is made smaller, down to `SMALLEST`, and then cut with an ellipsis.
    """
    # Placed by the baseline, so that text made smaller stays level with its neighbours.
    baseline = (place[0], place[1] + size)
    while size > SMALLEST and font(size).getlength(text) > width:
        size -= 1
    shown = text
    while text and font(size).getlength(shown) > width:
        text = text[:-1]
        shown = f"{text.rstrip()}..." if text else ""
    draw.text(baseline, shown, colour, font(size), anchor="ls")


def from_bgr(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return (h, w, 3) samples, blue first as OpenCV has them, as a Pillow image."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))


def png_bytes(image: Image.Image, **options: int) -> bytes:
    """Return an image as the bytes of a PNG file; `options` are Pillow's for PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()
