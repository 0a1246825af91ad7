"""Run a network on images of any size: padding to whole windows, tiles, and the choice of tiles by memory."""

from compsrt_plugin.inference.grid import check_tile, tile_of_size
from compsrt_plugin.inference.memory import choose_tile
from compsrt_plugin.inference.padding import PADDINGS, mirrored_indices, pad_to_windows
from compsrt_plugin.inference.tiles import Region, Tile, UpscaleCall, super_resolve, tiles_of

__all__ = [
    "PADDINGS",
    "Region",
    "Tile",
    "UpscaleCall",
    "check_tile",
    "choose_tile",
    "mirrored_indices",
    "pad_to_windows",
    "super_resolve",
    "tile_of_size",
    "tiles_of",
]
