"""Place tiles along an axis, aligned to the windows. Windows and shifts are then those of the whole image."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

from compsrt_plugin.errors import CompSRTError

OVERLAP = 32  # low-resolution pixels that a tile sees beyond the part that is kept; a quarter of a small tile


@dataclass(frozen=True)
class Tile:
    """The size and overlap of the tiles of large images.

    Attributes:
        size: height and width of the network's input, in low-resolution pixels. Rounded down to whole windows.
        overlap: low-resolution pixels that a tile sees beyond the part that is kept, on each side that is not a border
            of the image. Neighbours share at least twice as many.

    Raises:
        CompSRTError: the size is not positive, or the overlap leaves nothing to keep.
    """

    size: int
    overlap: int = 16

    def __post_init__(self) -> None:
        if self.size < 1:
            raise CompSRTError(f"tile.size is {self.size}", allowed="integers from 1")
        if self.overlap < 0 or 2 * self.overlap >= self.size:
            allowed = f"0 to below half of tile.size {self.size}"
            raise CompSRTError(f"tile.overlap is {self.overlap}", allowed=allowed)


class Span(NamedTuple):
    """One tile along one axis, in low-resolution pixels of the padded image. Sees start:end, keeps first:last."""

    start: int
    end: int
    first: int
    last: int


def spans(length: int, padded: int, window: int, tile: Tile) -> list[Span]:
    """Return the tiles of one axis. All have the same size, as small as the windows allow for this number of tiles.

    Args:
        length: length of the image in pixels.
        padded: `length` padded to whole windows.
        window: every start and size is a multiple of this.
        tile: the largest size, and the overlap.

    Returns:
        The tiles in order. The parts that they keep cover 0:length once.

    Raises:
        CompSRTError: the tile has no room for a window besides its overlap.

    >>> spans(40, 40, 8, Tile(24, 4))
    [Span(start=0, end=24, first=0, last=20), Span(start=16, end=40, first=20, last=40)]
    """
    if tile.size >= padded:
        return [Span(0, padded, 0, length)]
    check_tile(tile, window)
    shared = shared_pixels(tile.overlap, window)
    most = tile.size // window * window - shared  # between the starts of two neighbours
    number = -(-(padded - shared) // most)
    step = -(-(padded - shared) // (number * window)) * window
    size = step + shared
    starts = [min(index * step, padded - size) for index in range(number)]
    cuts = [0, *((left + size + right) // 2 for left, right in itertools.pairwise(starts)), length]
    cut = [Span(start, start + size, first, last) for start, first, last in zip(starts, cuts, cuts[1:])]
    # a last tile that sees only padding keeps nothing
    return [Span(s.start, s.end, s.first, min(s.last, length)) for s in cut if s.first < min(s.last, length)]


def check_tile(tile: Tile, window: int) -> None:
    """Raise CompSRTError for a tile that has no room for a window besides its overlap."""
    least = shared_pixels(tile.overlap, window) + window
    if tile.size // window * window < least:
        raise CompSRTError(
            f"tile.size is {tile.size} with tile.overlap {tile.overlap}",
            allowed=f"sizes from {least} at this overlap: the network's windows have {window} pixels",
        )


def tile_of_size(size: int, window: int, name: str = "tile") -> Tile:
    """Return a tile with an overlap that suits its size.

    Args:
        size: height and width in low-resolution pixels.
        window: window size of the network.
        name: the user's name for the size, for the message.

    Raises:
        CompSRTError: the tile has no room for a window besides its overlap.
    """
    try:
        tile = Tile(size, min(OVERLAP, (size - 1) // 4))
        check_tile(tile, window)
    except CompSRTError as error:
        allowed = f"{2 * window} or more: the network's windows have {window} pixels"
        raise CompSRTError(f"{name} is {size}", allowed=allowed) from error
    return tile


def shared_pixels(overlap: int, window: int) -> int:
    """Return the pixels that two neighbouring tiles share: twice the overlap, rounded up to whole windows.

    >>> shared_pixels(16, 8), shared_pixels(10, 8)
    (32, 24)
    """
    return -(-2 * overlap // window) * window
