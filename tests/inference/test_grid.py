"""Tiles cover an image once, start at whole windows, see their overlap, and are as few and even as can be."""

from __future__ import annotations

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import Tile
from compsrt_plugin.inference.grid import spans

CASES = [
    (length, window, mode, Tile(size, overlap))
    for length in (1, 7, 8, 64, 65, 100, 257, 1080)
    for window in (1, 8, 16)
    for mode in ("reflect", "flip")
    for size, overlap in ((48, 0), (64, 8), (70, 5), (256, 16))
]


def padded(length: int, window: int, mode: str) -> int:
    return (length // window + 1) * window if mode == "flip" else -(-length // window) * window


@pytest.mark.parametrize(("length", "window", "mode", "tile"), CASES)
def test_tiles_fit_the_windows_and_cover_the_picture_once(length: int, window: int, mode: str, tile: Tile) -> None:
    whole = padded(length, window, mode)
    cut = spans(length, whole, window, tile)
    assert [span.first for span in cut] == [0, *(span.last for span in cut[:-1])] and cut[-1].last == length
    for span in cut:
        assert span.start % window == 0 and (span.end - span.start) % window == 0
        assert span.end - span.start <= max(tile.size, window)
        assert 0 <= span.start <= span.first < span.last <= span.end <= whole
        assert span.start == 0 or span.first - span.start >= tile.overlap
        assert span.end == whole or span.end - span.last >= tile.overlap
    assert len({span.end - span.start for span in cut}) == 1


def test_a_picture_a_little_larger_than_the_tile_is_halved_not_run_twice() -> None:
    assert [span.end - span.start for span in spans(264, 264, 8, Tile(256, 16))] == [152, 152]


def test_a_tile_too_small_for_window_and_overlap_is_refused() -> None:
    with pytest.raises(CompSRTError, match=r"tile\.size is 20 with tile\.overlap 8; allowed: sizes from 24 .* 8 pix"):
        spans(100, 104, 8, Tile(20, 8))


@pytest.mark.parametrize(
    ("size", "overlap", "says"),
    [(0, 0, r"tile\.size is 0"), (32, -1, r"tile\.overlap is -1"), (32, 16, r"below half of tile\.size 32")],
)
def test_a_tile_that_keeps_nothing_is_refused(size: int, overlap: int, says: str) -> None:
    with pytest.raises(CompSRTError, match=says):
        Tile(size, overlap)
