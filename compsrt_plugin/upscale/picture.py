"""`Picture`: the samples of a picture file, and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compsrt_plugin.data.formats.png import Chunk

# of a PNG: what its sample values mean, the latter two to which display they were fitted; and the bytes that say so
COLOUR_CHUNKS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8}


@dataclass(frozen=True)
class Picture:
    """A still picture, its pixels as they lie in the file (an EXIF orientation is not applied).

    Attributes:
        colour: (height, width, channels), uint8 or uint16; one channel for grey, three for red, green, blue.
        alpha: (height, width) of the same type, 0 is transparent; None without.
        icc: the colour profile, as it is in the file.
        exif: EXIF data from their byte order mark on, as they are in the file; of a TIFF the tags that describe.
        colour_chunks: of a PNG, those of `COLOUR_CHUNKS`.
        notes: what was left out or supposed, a line each.
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

    def in_colour(self) -> Picture:
        """Return the picture as RGB; a profile of grey means nothing there and goes."""
        if self.colour.shape[2] == 3:
            return self
        icc = None if self.icc is not None and self.icc[16:20] == b"GRAY" else self.icc
        return replace(self, colour=self.colour.repeat(3, 2), icc=icc)

    def noting(self, note: str) -> Picture:
        """Return the picture with one more note."""
        return replace(self, notes=(*self.notes, note))

    def in_8_bits(self) -> Picture:
        """Return the picture with uint8 samples, each the nearest."""
        if self.top == 255:
            return self
        alpha = None if self.alpha is None else _nearest_8_bits(self.alpha)
        return replace(self, colour=_nearest_8_bits(self.colour), alpha=alpha)


def _nearest_8_bits(samples: np.ndarray) -> np.ndarray:
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
