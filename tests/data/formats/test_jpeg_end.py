"""A JPEG without its end marker is taken where all of its pixels are there, and only then."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from compsrt_plugin.data.formats.jpeg import END, with_end

PHOTO = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8), (72, 64))
WAYS = {
    "baseline": {},
    "no subsampling": {"subsampling": 0, "quality": 95},
    "own tables": {"optimize": True},
    "restarts": {"restart_marker_blocks": 3},
    "progressive": {"progressive": True},
    "progressive, restarts": {"progressive": True, "restart_marker_rows": 1},
}


def written(samples: np.ndarray, **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "JPEG", **how)
    return file.getvalue()


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    "samples", [PHOTO, PHOTO[..., 0], np.zeros((64, 72, 3), np.uint8)], ids=["rgb", "grey", "flat"]
)
@pytest.mark.parametrize("way", WAYS)
def test_only_the_marker_may_be_missing(way: str, samples: np.ndarray):
    content = written(samples, **WAYS[way])
    assert with_end(content) == content
    assert with_end(content[:-2]) == content and with_end(content[:-1]) == content
    for lost in (*range(3, 60), *range(60, len(content) // 2, 31)):
        try:
            made = with_end(content[:-lost])
        except (ValueError, OSError):
            continue
        np.testing.assert_array_equal(pixels(made), pixels(content))  # nothing but filling was lost


@pytest.mark.parametrize("way", WAYS)
def test_lost_data_are_found(way: str):
    content = written(PHOTO, **WAYS[way])
    for lost in range(10, 200, 7):
        with pytest.raises((ValueError, OSError)):
            with_end(content[:-lost])


def test_a_progressive_picture_that_lacks_a_scan_is_not_whole():
    content = written(PHOTO, progressive=True)
    with pytest.raises(ValueError, match="the file ends before its image does"):
        with_end(content[: content.rindex(b"\xff\xda")])


def test_what_follows_the_end_marker_does_not_matter():
    content = written(PHOTO) + b"more \xff\xda behind"
    assert with_end(content) == content


def test_a_thumbnails_end_marker_is_not_the_pictures():
    exif = b"Exif\0\0II*\0" + written(PHOTO[:8, :8])
    content = written(PHOTO, exif=exif)
    assert content.count(END) == 2 and with_end(content[:-2]) == content
    with pytest.raises((ValueError, OSError)):
        with_end(content[:-40])
