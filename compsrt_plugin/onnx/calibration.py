"""Images on which the bounds of 8-bit activations are searched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from compsrt_plugin.data.embedded import embedded_pairs
from compsrt_plugin.data.images import images_in, read_image

SIDE = 48
MOST = 16


def calibration_patches(scale: int, folder: Path | None = None) -> list[Tensor]:
    """Return at most `MOST` patches (1, 3, h, w), h, w <= `SIDE`, RGB in 0 to 1: the middle parts of images.

    Args:
        scale: of the network; the embedded photographs are shrunk by it.
        folder: of images as the network will see them; None takes the embedded photographs of the package.

    Raises:
        CompSRTError: the folder has no images, or one is damaged.
    """
    files = images_in(embedded_pairs("calibration", scale, "train")[1] if folder is None else folder)
    count = min(len(files), MOST)
    chosen = [files[len(files) * k // count] for k in range(count)]
    return [_middle(read_image(file)) for file in chosen]


def _middle(image: np.ndarray) -> Tensor:
    """Return the middle part of an image (h, w, 3), blue, green, red, uint8."""
    top, left = (max(0, (side - SIDE) // 2) for side in image.shape[:2])
    piece = image[top : top + SIDE, left : left + SIDE, ::-1].astype(np.float32) / 255
    return torch.from_numpy(piece.transpose(2, 0, 1)[None].copy())
