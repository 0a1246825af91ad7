"""Super-resolution of images of any size, as the option file's `tile:` and `val.padding` say."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from compsrt_plugin.config.blocks import TileBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import PADDINGS, Tile, UpscaleCall, check_tile, choose_tile, super_resolve
from compsrt_plugin.terminal import progress

BAR_AFTER = 2.0  # seconds after which the tiles of one image get a progress bar


class ImageRunner:
    """Run a network on images of any size.

    Args:
        opt: BasicSR's parsed options.

    Attributes:
        padding: how images are padded to multiples of the window.
        tile: how images are cut; None: only where memory would not suffice.
        used_tile: the tile of the last image that was cut; None before.

    Raises:
        CompSRTError: `tile:` or `val.padding` is wrong.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.scale, self._first = opt["scale"], opt["rank"] == 0
        self.padding = (opt.get("val") or {}).get("padding", "reflect")
        if self.padding not in PADDINGS:
            raise CompSRTError(f"val.padding is {self.padding!r}", allowed=", ".join(PADDINGS))
        block = None if opt.get("tile") is None else TileBlock.from_dict(opt["tile"])
        self.tile = None if block is None else Tile(block.size, block.overlap)
        self.used_tile: Tile | None = None
        self.window = 1

    def set_window(self, window: int) -> None:
        """Set the size of which the network's input must be a multiple.

        Raises:
            CompSRTError: `tile:` is too small for it.
        """
        self.window = window
        if self.tile is not None:
            check_tile(self.tile, window)

    def run(self, network: UpscaleCall, lq: Tensor, measured: UpscaleCall | None = None) -> Tensor:
        """Super-resolve an image.

        Args:
            network: the network to run, in eval mode.
            lq: (b, c, h, w) in 0..1.
            measured: the network whose memory determines the tiles; None: `network`.

        Returns:
            (b, c, h * scale, w * scale).
        """
        scale, window, size = self.scale, self.window, lq.shape[2:]
        tile = self.tile or choose_tile(measured or network, size, scale=scale, window=window, device=lq.device)
        if max(size) > tile.size:
            self.used_tile = tile
        bar = partial(progress, shown=self._first, desc="tiles", unit="tiles", leave=False, delay=BAR_AFTER)
        return super_resolve(network, lq, scale=scale, window=window, padding=self.padding, tile=tile, progress=bar)
