"""Super-resolve images of any size, whole or tile by tile, in memory bounded by the tile.

Tiles overlap, and the pixels near their inner borders are discarded, because there the network does not see the whole
neighbourhood. Tiles start at multiples of the window, so windows and shifts are those of the whole image. A pixel only
lacks what lies beyond the overlap (docs/notes/tiles.md has the differences).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from compsrt_plugin.devices import example
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference.grid import Span, Tile, spans
from compsrt_plugin.inference.memory import choose_tile
from compsrt_plugin.inference.padding import mirrored_indices, padded_size
from compsrt_plugin.terminal import TrackProgress

UpscaleCall = Callable[[Tensor], Tensor]
"""Takes (b, c, h, w) in 0..1 with h and w multiples of the window. Returns (b, c, h * scale, w * scale)."""


class Region(NamedTuple):
    """A part of the output image in its pixels: rows top:bottom, columns left:right."""

    top: int
    left: int
    bottom: int
    right: int


def super_resolve(
    network: UpscaleCall,
    lq: Tensor,
    *,
    scale: int,
    window: int,
    padding: str = "reflect",
    tile: Tile | None = None,
    progress: TrackProgress | None = None,
) -> Tensor:
    """Return an image of any size super-resolved: pad to whole windows, run, crop.

    Args:
        network: a module in eval mode, or any other `UpscaleCall`.
        lq: (b, c, h, w) in 0..1, or uint8.
        scale: factor by which the network enlarges.
        window: input height and width of the network must be multiples of this.
        padding: see `pad_to_windows`.
        tile: how the image is cut. None leaves it whole if memory allows.
        progress: wraps the list of tiles, as `tqdm` does.

    Returns:
        (b, c, h * scale, w * scale), on the network's device if the image was not cut, else on the CPU.

    Raises:
        CompSRTError: the tile is too small for the window, or the network has another scale.
    """
    height, width = (size * scale for size in lq.shape[2:])
    output: Tensor | None = None
    pieces = tiles_of(network, lq, scale=scale, window=window, padding=padding, tile=tile, progress=progress)
    for box, piece in pieces:
        if box == (0, 0, height, width):
            return piece
        if output is None:
            output = torch.empty(*piece.shape[:2], height, width, dtype=piece.dtype, device="cpu")
        output[:, :, box.top : box.bottom, box.left : box.right] = piece
    assert output is not None  # an image has at least one tile
    return output


def tiles_of(
    network: UpscaleCall,
    lq: Tensor,
    *,
    scale: int,
    window: int,
    padding: str = "reflect",
    tile: Tile | None = None,
    progress: TrackProgress | None = None,
) -> Iterator[tuple[Region, Tensor]]:
    """Yield the super-resolved image tile by tile, for callers that write it piece by piece.

    Tiles come row by row from the top left. The tiles of one row have the same top and bottom. No tensor of the size of
    the image is made, so `lq` may be a view of a mapped file.

    Args:
        network, lq, scale, window, padding, tile, progress: see `super_resolve`.

    Yields:
        The region of the output, and its pixels (b, c, bottom - top, right - left) on the network's device. The regions
        cover the output once.

    Raises:
        CompSRTError: see `super_resolve`.
    """
    h, w = lq.shape[2:]
    device = _device(network, lq)
    if tile is None:
        tile = choose_tile(network, (h, w), scale=scale, window=window, device=device)
    rows, columns = (mirrored_indices(size, padded_size(size, window, padding), padding == "flip") for size in (h, w))
    grid = [
        (row, column)
        for row in spans(h, rows.numel(), window, tile)
        for column in spans(w, columns.numel(), window, tile)
    ]
    for row, column in grid if progress is None else progress(grid):
        seen = lq.index_select(2, rows[row.start : row.end].to(lq.device))
        seen = seen.index_select(3, columns[column.start : column.end].to(lq.device)).to(device)
        with torch.no_grad():  # not around the yield, where it would apply to the caller too
            made = network(seen if seen.is_floating_point() else seen.float() / 255)
        _check_scale(seen, made, scale)
        box = Region(row.first * scale, column.first * scale, row.last * scale, column.last * scale)
        yield box, made[:, :, _kept(row, scale), _kept(column, scale)]


def _kept(span: Span, scale: int) -> slice:
    return slice((span.first - span.start) * scale, (span.last - span.start) * scale)


def _device(network: Any, lq: Tensor) -> torch.device:
    """Return the device for the network's input: that of its parameters, if it has any."""
    found = example(network)
    return lq.device if found is None else found.device


def _check_scale(seen: Tensor, made: Tensor, scale: int) -> None:
    if made.shape[2:] != (seen.shape[2] * scale, seen.shape[3] * scale):
        sizes = " of ".join("×".join(map(str, tensor.shape[2:])) for tensor in (made, seen))
        raise CompSRTError(f"the network makes {sizes} pixels", allowed=f"{scale} times the size", hint="check scale")
