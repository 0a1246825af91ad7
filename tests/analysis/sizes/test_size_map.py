from __future__ import annotations

import pytest

from compsrt_plugin.analysis.sizes.size_map import Rectangle, treemap

SIZES = [60, 25, 10, 3, 1.5, 0.5]


def test_areas_are_in_proportion_and_fill_the_box():
    box = Rectangle(10, 20, 300, 200)
    pieces = treemap(SIZES, box)
    assert [piece.width * piece.height for piece in pieces] == pytest.approx([size * 600 for size in SIZES])
    assert all(piece.left >= 10 - 1e-6 and piece.left + piece.width <= 310 + 1e-6 for piece in pieces)
    assert all(piece.top >= 20 - 1e-6 and piece.top + piece.height <= 220 + 1e-6 for piece in pieces)


def test_no_two_pieces_overlap():
    pieces = treemap(SIZES, Rectangle(0, 0, 100, 100))
    for i, a in enumerate(pieces):
        for b in pieces[:i]:
            wide = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
            high = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
            assert wide < 1e-6 or high < 1e-6


def test_equal_sizes_become_squares():
    assert all(piece.width == pytest.approx(piece.height) for piece in treemap([1] * 9, Rectangle(0, 0, 90, 90)))


def test_nothing_has_no_pieces():
    assert treemap([], Rectangle(0, 0, 10, 10)) == []
