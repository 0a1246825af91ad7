"""Decode the samples of a TIFF: libtiff (in Pillow) decompresses, arithmetic does the rest."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

NONE, PREDICTED = 1, {5, 8, 32946, 34925, 50000}  # LZW, deflate twice, LZMA, ZSTD: libtiff's with a predictor
LOSSLESS_COMPRESSIONS = PREDICTED | {NONE, 32773}  # byte for byte, whatever the samples are; 32773: PackBits
OF_IMAGES = {2: "1", 3: "1", 4: "1", 6: "8", 7: "8"}  # CCITT and JPEG, and the depth in which they are handled
DIFFERENCES = 2
ROWS_AT_ONCE = 256
LONG, SHORT = 4, 3


@dataclass(frozen=True)
class TiffLayout:
    """The layout of the samples of an image in a TIFF file.

    Attributes:
        width, height: size in pixels.
        bits: bits per sample.
        samples: samples per pixel.
        photometric, compression, predictor, fill_order: values of the tags.
        name: name of the compression.
        planes: 1, or the number of samples if each has its own plane.
        order: byte order, `<` or `>`.
        big: whether the file is a BigTIFF.
        tile: height and width of a tile; None for strips of `rows` rows.
        rows: rows of a strip.
        offsets, counts: offsets and sizes of the strips or tiles in bytes, plane by plane.
        directory: offset of the tags.
    """

    width: int
    height: int
    bits: int
    samples: int
    photometric: int
    compression: int
    name: str
    predictor: int
    planes: int
    fill_order: int
    order: str
    big: bool
    tile: tuple[int, int] | None
    rows: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    directory: int

    @property
    def together(self) -> int:
        """Number of interleaved samples."""
        return self.samples // self.planes

    @property
    def block(self) -> tuple[int, int]:
        """Height and width in pixels of a strip or tile."""
        return self.tile or (self.rows, self.width)

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of strips or tiles of a plane, vertically and horizontally."""
        height, width = self.block
        return -(-self.height // height), -(-self.width // width)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a strip or tile. Rows start at byte boundaries."""
        return -(-self.block[1] * self.together * self.bits // 8)

    def problem(self) -> str | None:
        """Return what is not supported, as text that follows the name of the file, or None."""
        if self.compression in OF_IMAGES:
            if str(self.bits) != OF_IMAGES[self.compression]:
                return f"has {self.bits} bits per sample, compressed by {self.name}"
            if self.samples not in (1, 3):
                return f"has {self.samples} samples per pixel, compressed by {self.name}"
        elif self.compression not in LOSSLESS_COMPRESSIONS:
            return f"is compressed by {self.name}"
        elif self.compression in PREDICTED and not self._predictable:
            return f"has predictor {self.predictor} at {self.bits} bits per sample"
        return None

    @property
    def _predictable(self) -> bool:
        return self.predictor == 1 or (self.predictor == DIFFERENCES and self.bits in (8, 16))


def samples_of(layout: TiffLayout, content: bytes) -> np.ndarray:
    """Return (height, width, samples), scaled to uint8 for up to 8 bits and to uint16 for more.

    Args:
        layout: a layout whose `problem` is None.
        content: the file.

    Raises:
        ValueError, OSError: the file is damaged.
    """
    if layout.compression in OF_IMAGES:
        return _by_pillow(layout, content)
    down, across = layout.grid
    if len(layout.offsets) < down * across * layout.planes:
        raise ValueError(f"{len(layout.offsets)} of {down * across * layout.planes} pieces are there")
    planes = [_plane(layout, content, index * down * across) for index in range(layout.planes)]
    return planes[0] if len(planes) == 1 else np.concatenate(planes, 2)


def _plane(layout: TiffLayout, content: bytes, first: int) -> np.ndarray:
    """Return (height, width, interleaved samples) of one plane, whose pieces start at number `first`."""
    (down, across), (block_height, block_width) = layout.grid, layout.block
    heights = [block_height] * (down * across)
    if layout.tile is None:
        heights[-1] = layout.height - block_height * (down - 1)
    places = slice(first, first + down * across)
    lengths = layout.counts[places]
    if layout.compression == NONE:  # the tag is redundant here, and wrong in files of some writers
        lengths = [height * layout.row_bytes for height in heights]
    pieces = [content[at : at + length] for at, length in zip(layout.offsets[places], lengths)]
    if any(len(piece) < length or not length for piece, length in zip(pieces, lengths)):
        raise ValueError("the file ends before its image does")
    rows = np.zeros((down * across * block_height, layout.row_bytes), np.uint8)
    rows[: sum(heights)] = _unpacked(layout, pieces, sum(heights))
    values = _values(rows, layout).reshape(down, across, block_height, block_width, layout.together)
    values = values.transpose(0, 2, 1, 3, 4).reshape(-1, across * block_width, layout.together)
    return values[: layout.height, : layout.width]


def _unpacked(layout: TiffLayout, pieces: Sequence[bytes], height: int) -> np.ndarray:
    """Return the decompressed rows of strips or tiles as bytes, one below the other."""
    if layout.compression == NONE:
        values = np.frombuffer(b"".join(pieces), np.uint8)
        values = _mirrored(values) if layout.fill_order == 2 else values
        return values.reshape(height, layout.row_bytes)
    # libtiff reads a TIFF in strips whose 8-bit grey pixels are the bytes
    directory = ImageFileDirectory_v2(prefix=b"II")
    tags: dict[int, tuple[int, Any]] = {
        256: (LONG, layout.row_bytes),
        257: (LONG, height),
        258: (SHORT, 8),
        259: (SHORT, layout.compression),
        262: (SHORT, 1),
        266: (SHORT, layout.fill_order),
        273: (
            LONG,
            tuple(accumulate((len(piece) for piece in pieces[:-1]), initial=0)),
        ),  # the writer adds its own length
        277: (SHORT, 1),
        278: (LONG, layout.block[0]),
        279: (LONG, tuple(map(len, pieces))),
    }
    for tag, (kind, value) in tags.items():
        directory.tagtype[tag] = kind
        directory[tag] = value
    buffer = io.BytesIO()
    directory.save(buffer)
    packed = b"".join([buffer.getvalue(), *pieces])
    with Image.open(io.BytesIO(packed), formats=("TIFF",)) as image:
        return np.asarray(image)


def _mirrored(values: np.ndarray) -> np.ndarray:
    """Return bytes with reversed bit order."""
    return np.packbits(np.unpackbits(values).reshape(-1, 8)[:, ::-1])


def _values(rows: np.ndarray, layout: TiffLayout) -> np.ndarray:
    """Return the samples of rows of bytes (…, row_bytes) as (…, row samples), scaled to their full dtype."""
    count = layout.block[1] * layout.together
    if layout.bits == 8 or layout.bits == 16:
        values = rows if layout.bits == 8 else rows.view(f"{layout.order}u2").astype(np.uint16, copy=False)
        if layout.compression in PREDICTED and layout.predictor == DIFFERENCES:
            values = values.reshape(*values.shape[:-1], layout.block[1], layout.together)
            values = np.cumsum(values, axis=-2, dtype=values.dtype)
        return values
    wide = np.uint8 if layout.bits < 8 else np.uint16
    flat = rows.reshape(-1, rows.shape[-1])
    values = np.empty((len(flat), count), wide)
    top, full = (1 << layout.bits) - 1, int(np.iinfo(wide).max)
    weights = (1 << np.arange(layout.bits)[::-1]).astype(np.uint32)
    for start in range(0, len(flat), ROWS_AT_ONCE):  # unpacked bits take eight times the memory
        bits = np.unpackbits(flat[start : start + ROWS_AT_ONCE], axis=1)[:, : count * layout.bits]
        numbers = bits.reshape(-1, count, layout.bits) @ weights
        values[start : start + ROWS_AT_ONCE] = (numbers * full + top // 2) // top
    return values.reshape(*rows.shape[:-1], count)


def _by_pillow(layout: TiffLayout, content: bytes) -> np.ndarray:
    """Return 8-bit samples of image compressions: CCITT and JPEG."""
    with Image.open(io.BytesIO(_alone(layout, content)), formats=("TIFF",)) as image:
        image.load()
        wanted = {"1": "L", "P": "RGB"}.get(image.mode, image.mode)
        samples = np.asarray(image if image.mode == wanted else image.convert(wanted))
    return samples.reshape(*samples.shape[:2], -1)


def _alone(layout: TiffLayout, content: bytes) -> bytes:
    """Return the file with only this image, without orientation."""
    count, entry, offset = ("Q", 20, "Q") if layout.big else ("H", 12, "L")
    changed = bytearray(content)
    struct.pack_into(layout.order + offset, changed, 8 if layout.big else 4, layout.directory)
    start = layout.directory + struct.calcsize(count)
    (entries,) = struct.unpack_from(layout.order + count, content, layout.directory)
    for place in range(start, start + entries * entry, entry):
        tag, kind = struct.unpack_from(layout.order + "HH", content, place)
        if tag == 274 and kind == SHORT:  # orientation
            struct.pack_into(layout.order + "H", changed, place + (12 if layout.big else 8), 1)
    struct.pack_into(layout.order + offset, changed, start + entries * entry, 0)  # no next directory
    return bytes(changed)
