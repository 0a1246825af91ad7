"""Define `DecodedImage`: the samples and the metadata of an image file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compsrt_plugin.data.formats.png import Chunk

# PNG chunks that define the colour space (the last two the mastering display) -> their length in bytes
COLOUR_CHUNKS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8}


@dataclass(frozen=True)
class DecodedImage:
    """A still image with its pixels in file order (an EXIF orientation is not applied).

    Attributes:
        colour: (height, width, channels), uint8 or uint16. One channel is grey, three are red, green, blue.
        alpha: (height, width) of the same dtype, 0 is transparent; None if there is no alpha.
        icc: the colour profile of the file.
        exif: the EXIF data of the file from the byte order mark on. For a TIFF, its descriptive tags.
        colour_chunks: the `COLOUR_CHUNKS` of a PNG.
        notes: one line for each thing that was dropped or assumed.
    """

    colour: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    colour_chunks: tuple[Chunk, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.colour.shape[0], self.colour.shape[1]

    @property
    def top(self) -> int:
        """The largest sample value, 255 or 65535."""
        return int(np.iinfo(self.colour.dtype).max)

    @property
    def mode(self) -> str:
        """Pillow's name for the channels: L, LA, RGB or RGBA."""
        return ("L" if self.colour.shape[2] == 1 else "RGB") + ("" if self.alpha is None else "A")

    def samples(self) -> np.ndarray:
        """Return (height, width, channels), alpha last where there is one."""
        return self.colour if self.alpha is None else np.dstack([self.colour, self.alpha])

    def in_colour(self) -> DecodedImage:
        """Return the image as RGB. A grey profile does not apply to RGB and is dropped."""
        if self.colour.shape[2] == 3:
            return self
        icc = None if self.icc is not None and self.icc[16:20] == b"GRAY" else self.icc
        return replace(self, colour=self.colour.repeat(3, 2), icc=icc)

    def noting(self, note: str) -> DecodedImage:
        """Return the image with one more note."""
        return replace(self, notes=(*self.notes, note))

    def in_8_bits(self) -> DecodedImage:
        """Return the image with uint8 samples, rounded to the nearest."""
        if self.top == 255:
            return self
        alpha = None if self.alpha is None else _nearest_8_bits(self.alpha)
        return replace(self, colour=_nearest_8_bits(self.colour), alpha=alpha)


def _nearest_8_bits(samples: np.ndarray) -> np.ndarray:
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
