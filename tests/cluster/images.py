"""Images to enlarge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path, count: int, side: int = 12) -> Path:
    """Write `count` images, `0.png` and so on, and return the folder."""
    folder.mkdir()
    for number in range(count):
        samples = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(samples).save(folder / f"{number}.png")
    return folder
