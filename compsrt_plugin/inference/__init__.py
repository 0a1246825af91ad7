"""Running a network on pictures of any size: padding to whole windows, tiles, and what the memory allows."""

from compsrt_plugin.inference.grid import check_tile, tile_of_size
from compsrt_plugin.inference.memory import choose_tile
from compsrt_plugin.inference.padding import PADDINGS, mirrored_indices, pad_to_windows
from compsrt_plugin.inference.tiles import Box, Network, Progress, Tile, super_resolve, tiles_of

__all__ = [
    "PADDINGS",
    "Box",
    "Network",
    "Progress",
    "Tile",
    "check_tile",
    "choose_tile",
    "mirrored_indices",
    "pad_to_windows",
    "super_resolve",
    "tile_of_size",
    "tiles_of",
]
