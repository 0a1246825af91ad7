"""Published figures: whole, and marked with what they differ in."""

from __future__ import annotations

from pathlib import Path

import pytest

from compsrt_plugin.compare.published import _FILE, FACTS, FOOTNOTES, LIMITED, UNLIMITED, published, published_for

SHARED = Path(__file__).parents[3] / "shared" / "docs" / "published.csv"


def test_every_method_width_and_scale_is_there_once() -> None:
    rows = [(row.method, row.bits, row.scale) for row in published()]
    expected = {(method, bits, scale) for method in FACTS for bits in (2, 3, 4) for scale in (2, 3, 4)}
    expected |= {(method, 32, scale) for method in ("SwinIR-light", "Bicubic") for scale in (2, 3, 4)}
    assert len(rows) == len(set(rows)) and set(rows) == expected
    assert all(row.source for row in published())


@pytest.mark.skipif(not SHARED.is_file(), reason="the original is not on this machine")
def test_the_copy_is_the_original() -> None:
    assert _FILE.read_bytes() == SHARED.read_bytes()


def test_figures_are_those_of_the_papers() -> None:
    (row,) = (row for row in published() if (row.method, row.bits, row.scale) == ("2DQuant", 3, 4))
    assert row.scores["Set5"].to_dict() == {"psnr": 30.90, "ssim": 0.8704}
    assert row.scores["Manga109"].to_dict() == {"psnr": 28.21, "ssim": 0.8683}


def test_what_differs_is_said_of_every_quantized_row() -> None:
    for row in published():
        quantized = row.bits != 32
        assert bool(row.codes) == bool(row.weights) == bool(row.teacher) == quantized
    codes = {row.method: row.codes for row in published() if row.codes}
    assert codes["CompSRT"] == UNLIMITED and codes["2DQuant"] == LIMITED


def test_footnotes_stand_at_figures_that_are_odd() -> None:
    noted = {(row.method, row.bits, row.scale): row for row in published() if row.footnote}
    assert noted.keys() == FOOTNOTES.keys()
    two = noted["CompSRT", 2, 2].scores
    assert two["B100"].ssim == two["Urban100"].ssim == 0.9294
    (four,) = (row for row in published() if (row.method, row.bits, row.scale) == ("CompSRT", 4, 2))
    assert noted["CompSRT", 3, 2].scores["Set14"].psnr > four.scores["Set14"].psnr


def test_a_comparison_shows_its_scale_its_widths_and_full_precision() -> None:
    rows = published_for(3, {2})
    assert {row.scale for row in rows} == {3} and {row.bits for row in rows} == {2, 32}
    assert len(rows) == len(FACTS) + 2
