"""Write 16-bit PNG with colour profile and EXIF data (ISO/IEC 15948, third edition of the W3C specification).

Pillow has no 16-bit colour. OpenCV's `imencodeWithMetadata` (5.0.0) refuses grey with alpha, and writes nothing where
libpng does not accept the colour profile.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from compsrt_plugin.data.formats.png import Chunk, assembled
from compsrt_plugin.upscale.image import DecodedImage

COLOUR_TYPES = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
SUB, UP = 1, 2  # filter types: difference to the pixel on the left, to the pixel above
ROWS = 256  # filtered and compressed at a time


def encode_png(image: DecodedImage) -> bytes:
    """Return an image with uint16 samples as the bytes of a PNG file, without loss."""
    height, width = image.size
    header = struct.pack(">LLBBBBB", width, height, 16, COLOUR_TYPES[image.mode], 0, 0, 0)
    chunks = [Chunk(b"IHDR", header)]
    if image.icc is not None:
        chunks.append(Chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(image.icc)))
    if image.exif is not None:
        chunks.append(Chunk(b"eXIf", image.exif))
    chunks += [Chunk(b"IDAT", piece) for piece in _compressed(image.samples())]
    return assembled(chunks, (chunk.name for chunk in chunks))


def _compressed(samples: np.ndarray) -> Iterator[bytes]:
    """Yield the compressed rows of (height, width, channels) uint16. Each row has the better of two filters."""
    height, width, channels = samples.shape
    packer = zlib.compressobj()
    above = np.zeros((1, width * channels * 2), np.uint8)
    for start in range(0, height, ROWS):
        rows = samples[start : start + ROWS].astype(">u2").reshape(-1, width * channels).view(np.uint8)
        up = rows - np.concatenate([above, rows[:-1]])
        sub = rows.copy()
        sub[:, channels * 2 :] -= rows[:, : -channels * 2]
        # Heuristic of the PNG specification: the filter with the smaller sum of absolute differences compresses better.
        first = (_size(up) < _size(sub))[:, None]
        filtered = np.concatenate([np.where(first, UP, SUB).astype(np.uint8), np.where(first, up, sub)], 1)
        above = rows[-1:]
        piece = packer.compress(filtered.tobytes())
        if piece:
            yield piece
    yield packer.flush()


def _size(differences: np.ndarray) -> np.ndarray:
    return np.minimum(differences, 0 - differences).sum(1, dtype=np.int64)
