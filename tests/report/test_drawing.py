from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from compsrt_plugin.report.drawing import SMALLEST, draw_line


def drawn(text, size=24, width=300):
    """The rows and columns that a line of text covers, on a page with 10 pixels of room at the left."""
    page = Image.new("RGB", (2000, 60), "white")
    draw_line(ImageDraw.Draw(page), (10, 10), text, size, "black", width)
    return np.nonzero((np.asarray(page) != 255).any(axis=2))


def test_text_is_anti_aliased():
    page = Image.new("L", (200, 40), 255)
    page_rgb = page.convert("RGB")
    draw_line(ImageDraw.Draw(page_rgb), (0, 0), "3-bit", 24, "black", 200)

    assert len(np.unique(np.asarray(page_rgb))) > 16


@pytest.mark.parametrize("text", ["fits", "a little too long to fit in at full size", "much too long " * 20])
def test_a_line_is_never_wider_than_its_room(text):
    columns = drawn(text)[1]

    assert columns.min() >= 9 and columns.max() <= 10 + 300


def test_a_longer_text_becomes_smaller_but_stays_on_the_baseline():
    short, long = drawn("BIT"), drawn("BIT" * 10)

    assert np.ptp(long[0]) < np.ptp(short[0])
    assert long[0].max() == short[0].max()


def test_a_text_is_cut_rather_than_made_illegible():
    endless = drawn("BIT" * 100)

    assert np.ptp(endless[0]) >= 0.6 * SMALLEST


def test_a_text_without_room_is_left_out():
    assert drawn("text", width=3)[0].size == 0
