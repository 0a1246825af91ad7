"""Images made on the spot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def random_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with some noise: an image whose LR has structure."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int64)
    return np.clip(smooth + generator.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8)


def save(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)
    return path
