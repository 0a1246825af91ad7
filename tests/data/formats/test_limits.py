"""Pillow's limit on the size of an image is lifted while we read, and put back."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from compsrt_plugin.data.formats.limits import quiet_and_any_size
from compsrt_plugin.data.images import image_size, read_image
from compsrt_plugin.upscale.reading import decode_image


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.webp", "p.tif"])
def test_a_picture_beyond_pillows_limit_is_read_by_all_readers(tmp_path: Path, name: str):
    Image.new("RGB", (20, 30)).save(tmp_path / name)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / name)
    assert decode_image(tmp_path / name).size == image_size(tmp_path / name) == read_image(tmp_path / name).shape[:2]
    assert Image.MAX_IMAGE_PIXELS == 50


def test_threads_may_overlap():
    file = io.BytesIO()
    Image.new("L", (20, 30)).save(file, "PNG")
    level = cv2.utils.logging.getLogLevel()

    def read(_: int) -> int:
        with quiet_and_any_size(), Image.open(io.BytesIO(file.getvalue())) as image:
            return int(np.asarray(image).sum())

    with ThreadPoolExecutor(8) as executor:
        assert set(executor.map(read, range(200))) == {0}
    assert Image.MAX_IMAGE_PIXELS == 50 and cv2.utils.logging.getLogLevel() == level
