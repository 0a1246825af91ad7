"""Choose the small region of an image that shows best what upscaling lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""An image in OpenCV's form: uint8, height × width × 3, blue-green-red."""


class Crop(NamedTuple):
    """A rectangle in pixels; `left` and `top` count from the upper left corner."""

    left: int
    top: int
    width: int
    height: int

    def of(self, image: Pixels) -> Pixels:
        """Return this part of `image` as a view."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def choose_crop(original: Pixels, degraded: Pixels, size: int = 80) -> Crop:
    """Return the `size`×`size` region that is most worth zooming into.

    The region should have detail that upscaling loses and structure that explains it: an eye, a letter, an edge of fur.
    Its score is the product of two measures: how much `degraded` (best: the bicubic image) differs from `original`, and
    how much contrast `degraded` still has, weighted towards the middle. Noise and film grain vanish in `degraded` and
    fail the second; a sky fails both. The best region is then moved so that the contrast is in its middle. The outer
    sixteenth of the image is avoided. The result is deterministic.

    Args:
        original: H×W×3, uint8.
        degraded: of the same shape.
        size: side of the region in pixels. In a smaller image the region is as large as the image.

    Raises:
        ValueError: shapes differ, or `size` is not positive.
    """
    if original.shape != degraded.shape:
        raise ValueError(f"images differ in shape: {original.shape} and {degraded.shape}")
    if size < 1:
        raise ValueError(f"size is {size}")
    height, width = original.shape[:2]
    box_height, box_width = min(size, height), min(size, width)
    before, after = _luma(original), _luma(degraded)
    lost = _box_sums(np.abs(before - after), box_height, box_width)
    contrast = _contrast(after)
    # Squared, so that a few clear contours (an eye) outweigh many faint ones (the fur around it).
    kept = _centred_sums(contrast**2, box_height, box_width)
    score = lost * kept
    # Row y of `score` is the region that starts at y. The margin shrinks where the image has little room.
    margin_y = min(height // 16, (score.shape[0] - 1) // 2)
    margin_x = min(width // 16, (score.shape[1] - 1) // 2)
    inside = score[margin_y : score.shape[0] - margin_y, margin_x : score.shape[1] - margin_x]
    y, x = np.unravel_index(int(np.argmax(inside)), inside.shape)
    box = Crop(margin_x + int(x), margin_y + int(y), box_width, box_height)
    for _ in range(_CENTRING_STEPS):
        top, left = _centred(box, contrast)
        top = min(max(top, margin_y), height - box_height - margin_y)
        left = min(max(left, margin_x), width - box_width - margin_x)
        box = box._replace(left=left, top=top)
    return box


def differing_crop(images: Sequence[Pixels], size: int = 80) -> Crop:
    """Return the `size`×`size` region in which images differ most.

    The measure is the squared range of their luma, summed over the region. Of equal sums the first in row order counts.

    Args:
        images: two or more, H×W×3, uint8, of one shape.
        size: side of the region in pixels. In a smaller image the region is as large as the image.

    Raises:
        ValueError: shapes differ, fewer than two images, or `size` is not positive.
    """
    if len(images) < 2 or len({image.shape for image in images}) > 1:
        raise ValueError(f"{len(images)} images of the shapes {[image.shape for image in images]}")
    if size < 1:
        raise ValueError(f"size is {size}")
    height, width = images[0].shape[:2]
    box_height, box_width = min(size, height), min(size, width)
    sums = _box_sums(luma_range(images) ** 2, box_height, box_width)
    top, left = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return Crop(int(left), int(top), box_width, box_height)


def luma_range(images: Sequence[Pixels]) -> NDArray[np.float64]:
    """Return the range of luma of several images at each pixel, (H, W), in grey levels."""
    lumas = [_luma(image) for image in images]
    return np.maximum.reduce(lumas) - np.minimum.reduce(lumas)


_CENTRING_STEPS = 4  # most regions stop moving after two or three


def _centred(box: Crop, contrast: NDArray[np.float64]) -> tuple[int, int]:
    """Return the (top, left) that centres the region on the centre of mass of the contrast inside `box`."""
    mass = contrast[box.top : box.top + box.height, box.left : box.left + box.width]
    if not mass.any():
        return box.top, box.left
    down = np.average(np.arange(box.height), weights=mass.sum(1)) - (box.height - 1) / 2
    right = np.average(np.arange(box.width), weights=mass.sum(0)) - (box.width - 1) / 2
    return box.top + round(float(down)), box.left + round(float(right))


def _luma(image: Pixels) -> NDArray[np.float64]:
    blue, green, red = np.moveaxis(image.astype(np.float64), -1, 0)
    return 0.114 * blue + 0.587 * green + 0.299 * red


def _contrast(luma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |∂y| + |∂x| per pixel.

    The sum, unlike the length of the gradient, makes round and slanted shapes (a badge) outweigh straight borders (the
    strap next to it).
    """
    down = np.abs(np.diff(luma, axis=0, append=luma[-1:]))
    right = np.abs(np.diff(luma, axis=1, append=luma[:, -1:]))
    return down + right


def _box_sums(values: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return the sums of `values` over every box of the given size. Entry (y, x) is the box that starts there."""
    total = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    rows = total[height:] - total[:-height]
    return rows[:, width:] - rows[:, :-width]


def _centred_sums(values: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return sums like `_box_sums`, with weights that fall off from the middle of the box to its edges.

    Salient shapes are then framed whole instead of cut. Summing over half the box twice gives such weights.
    """
    half_height, half_width = (height + 1) // 2, (width + 1) // 2
    halves = _box_sums(values, half_height, half_width)
    return _box_sums(halves, height - half_height + 1, width - half_width + 1)
