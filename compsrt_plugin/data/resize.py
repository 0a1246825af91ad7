"""Resize 8-bit images like MATLAB's bicubic `imresize`, the degradation of all SR benchmarks.

An output sample at position x (from 1) is computed from the input around u = x / r + (1 - 1 / r) / 2 for a scale r,
with Keys' cubic kernel (a = -1/2). For shrinking, the kernel is stretched by 1 / r (antialiasing), and the weights of
each sample are divided by their sum. Beyond the image, samples repeat in mirror order (edge sample twice). A uint8
image is resized along its first axis, then along its second, and rounded to uint8 after each pass. Other ports omit the
first of these roundings.

The order of summation does not matter at the scales of SR. If s is a power of two, all weights are dyadic fractions,
every product and sum is exact in float64, and a tie at .5 is a true tie. For s = 3 the weights are multiples of 1/81
(of 1/27 for enlarging), so no sum is nearer than 1/162 to a tie.

Source: R. Keys, "Cubic convolution interpolation for digital image processing", 1981, and the documentation
of MATLAB's `imresize`. Checked against images made by MATLAB's rule (tests/data/test_resize.py).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_matrix

KERNEL_WIDTH = 4  # support of Keys' cubic, in samples


def imresize(image: np.ndarray, scale: float) -> np.ndarray:
    """Return an image resized like MATLAB's `imresize(image, scale, 'bicubic')`.

    Args:
        image: uint8, shape (height, width) or (height, width, channels).
        scale: factor for both sides, above 0. Below 1, the image is shrunk with antialiasing.

    Returns:
        uint8, each side ceil(side * scale) long, with the same channels.

    Raises:
        TypeError: the image is not uint8.
        ValueError: the image has not 2 or 3 axes or no pixels, or the scale is not above 0.

    >>> imresize(np.array([[0, 0, 255, 255]] * 4, dtype=np.uint8), 0.5)
    array([[ 14, 241],
           [ 14, 241]], dtype=uint8)
    """
    if image.dtype != np.uint8:
        raise TypeError(f"imresize takes uint8 images, not {image.dtype}")
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"imresize takes (height, width[, channels]) with pixels in it, not {image.shape}")
    if not scale > 0:
        raise ValueError(f"imresize takes a scale above 0, not {scale}")
    height, width = image.shape[:2]
    channels = image.shape[2:]
    rows = _resize_first_axis(image.reshape(height, -1), scale).reshape(-1, width, *channels)
    columns = np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(width, -1)
    resized = _resize_first_axis(columns, scale).reshape(-1, rows.shape[0], *channels)
    return np.ascontiguousarray(resized.swapaxes(0, 1))


def mod_crop(image: np.ndarray, scale: int) -> np.ndarray:
    """Return the image without the bottom and right edges, so that both sides are multiples of `scale` (a view).

    >>> mod_crop(np.zeros((9, 10, 3), np.uint8), 4).shape
    (8, 8, 3)
    """
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def downscale(image: np.ndarray, scale: int) -> np.ndarray:
    """Return a benchmark LR image: mod-crop (height, width[, channels]) uint8, then shrink by `scale`.

    Raises:
        ValueError: a side is shorter than `scale`.
    """
    return imresize(mod_crop(image, scale), 1 / scale)


def upscale(image: np.ndarray, scale: int) -> np.ndarray:
    """Return (height, width[, channels]) uint8 enlarged by `scale`: the bicubic baseline of SR tables."""
    return imresize(image, scale)


def _resize_first_axis(samples: np.ndarray, scale: float) -> np.ndarray:
    """Return (length, others) uint8 resized along its first axis, rounded half away from zero like MATLAB."""
    resized = _weights(samples.shape[0], scale) @ samples
    # Negative values are clipped, so rounding half away from zero is floor(x + 1/2).
    resized += 0.5
    np.clip(resized, 0, 255, out=resized)
    return resized.astype(np.uint8)


@lru_cache(maxsize=64)
def _weights(length: int, scale: float) -> csr_matrix:
    """Return the (ceil(length * scale), length) matrix that resizes one axis, mirrored at the ends."""
    stretch = min(scale, 1.0)
    width = KERNEL_WIDTH / stretch
    new_length = math.ceil(length * scale)
    centres = np.arange(1, new_length + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centres - width / 2)
    places = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = stretch * _cubic(stretch * (centres[:, None] - places))
    weights /= weights.sum(axis=1, keepdims=True)

    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    columns = mirrored[(places.astype(np.int64) - 1) % (2 * length)]
    used = weights != 0
    starts = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    return csr_matrix((weights[used], columns[used], starts), shape=(new_length, length))


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -1/2, zero outside [-2, 2]."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))
