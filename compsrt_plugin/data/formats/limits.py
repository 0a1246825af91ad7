"""Suppress the size limit and the messages of Pillow and OpenCV while an image is read."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

import cv2
from PIL import Image

_lock = threading.Lock()
_readers = 0
_before: tuple[int | None, int] = (None, 0)


@contextlib.contextmanager
def quiet_and_any_size() -> Iterator[None]:
    """Let Pillow open images of any size (even 200 megapixels), and silence both libraries, within the context.

    An image that does not fit into memory still raises MemoryError. Threads may overlap; the last one restores both.
    """
    global _readers, _before
    with _lock:
        if _readers == 0:
            _before = Image.MAX_IMAGE_PIXELS, cv2.utils.logging.getLogLevel()
            Image.MAX_IMAGE_PIXELS = None
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        _readers += 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                Image.MAX_IMAGE_PIXELS = _before[0]
                cv2.utils.logging.setLogLevel(_before[1])
