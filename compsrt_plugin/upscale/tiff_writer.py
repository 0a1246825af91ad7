"""Write 8- or 16-bit TIFF with colour profile and EXIF data (TIFF 6.0, with Adobe's deflate and predictor)."""

from __future__ import annotations

import io
import zlib
from itertools import accumulate
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from compsrt_plugin.upscale.exif import tiff_tags
from compsrt_plugin.upscale.image import DecodedImage

LARGEST_BYTES = 4_000_000_000  # offsets have 32 bits
STRIP_BYTES = 1 << 20
SHORT, LONG, UNDEFINED = 3, 4, 7
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS = 256, 257, 258, 259, 262, 273
CHANNELS, ROWS_PER_STRIP, STRIP_LENGTHS, PLANES, PREDICTOR, EXTRA_SAMPLES, ICC = 277, 278, 279, 284, 317, 338, 34675
DEFLATE, DIFFERENCES, UNASSOCIATED_ALPHA = 8, 2, 2


def encode_tiff(image: DecodedImage) -> bytes:
    """Return an image of at most `LARGEST_BYTES` as the bytes of a TIFF file, without loss."""
    samples = image.samples()
    height, width, channels = samples.shape
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]
    rows = max(1, STRIP_BYTES // (width * channels * samples.itemsize))
    little = samples.dtype.newbyteorder("<")
    strips = [
        zlib.compress(differences[top : top + rows].astype(little, copy=False).tobytes())
        for top in range(0, height, rows)
    ]
    directory = ImageFileDirectory_v2(prefix=b"II")
    for tag, value in tiff_tags(image.exif).items() if image.exif is not None else ():
        directory[tag] = value
    layout: dict[int, tuple[int, Any]] = {
        WIDTH: (LONG, width),
        HEIGHT: (LONG, height),
        BITS: (SHORT, (8 * samples.itemsize,) * channels),
        COMPRESSION: (SHORT, DEFLATE),
        PHOTOMETRIC: (SHORT, 2 if channels > 2 else 1),
        # relative to the first strip: the writer adds the length of what comes before
        OFFSETS: (LONG, tuple(accumulate((len(strip) for strip in strips[:-1]), initial=0))),
        CHANNELS: (SHORT, channels),
        ROWS_PER_STRIP: (LONG, rows),
        STRIP_LENGTHS: (LONG, tuple(len(strip) for strip in strips)),
        PLANES: (SHORT, 1),
        PREDICTOR: (SHORT, DIFFERENCES),
    }
    if image.alpha is not None:
        layout[EXTRA_SAMPLES] = (SHORT, UNASSOCIATED_ALPHA)
    if image.icc is not None:
        layout[ICC] = (UNDEFINED, image.icc)
    for tag, (kind, value) in layout.items():
        directory.tagtype[tag] = kind
        directory[tag] = value
    buffer = io.BytesIO()
    directory.save(buffer)
    return b"".join([buffer.getvalue(), *strips])
