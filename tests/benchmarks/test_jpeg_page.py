"""The page on real photographs holds what the result file says, and its sentence about it is true."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import jpeg
from sensitivity import page_with

FOUND = json.loads(jpeg.RESULTS.read_text())


def test_the_page_is_what_the_results_say() -> None:
    page = jpeg.PAGE.read_text(encoding="utf-8")
    assert page_with(page, jpeg.table(FOUND), jpeg.BEGIN) == page


def test_the_gain_shrinks_with_the_quality_and_is_gone_at_the_lowest() -> None:
    assert list(FOUND) == [str(quality or "not compressed") for quality in jpeg.QUALITIES]
    gains = [psnr["network"] - psnr["bicubic"] for psnr in FOUND.values()]
    assert gains == sorted(gains, reverse=True) and gains[-1] <= 0


def test_a_row_has_the_difference() -> None:
    assert jpeg.table({"75": {"bicubic": 28.0, "network": 28.25}}).endswith("| 75 | 28.00 | 28.25 | +0.25 |\n")


@pytest.mark.parametrize("quality", [None, 50])
def test_an_image_is_compressed_as_a_jpeg(quality: int | None) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    found = np.asarray(jpeg.compressed(image, quality))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    np.testing.assert_array_equal(found, np.asarray(image if quality is None else Image.open(buffer)))
