"""Super-resolution of images of any size, as the option file's `tile:` and `val.padding` say."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from compsrt_plugin.config.run_options import RunOptions
from compsrt_plugin.inference import Tile, UpscaleCall, check_tile, choose_tile, super_resolve
from compsrt_plugin.terminal import progress

BAR_AFTER = 2.0  # seconds after which the tiles of one image get a progress bar


class ImageRunner:
    """Run a network on images of any size.

    Args:
        options: with the padding and the tiles.
        scale: scale factor.
        shown: whether the tiles of a large image get a progress bar.

    Attributes:
        padding: how images are padded to multiples of the window.
        tile: how images are cut; None: only where memory would not suffice.
        used_tile: the tile of the last image that was cut; None before.
    """

    def __init__(self, options: RunOptions, scale: int, shown: bool) -> None:
        self.scale, self._shown, self.padding = scale, shown, options.padding
        self.tile = None if options.tile is None else Tile(options.tile.size, options.tile.overlap)
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
        bar = partial(progress, shown=self._shown, desc="tiles", unit="tiles", leave=False, delay=BAR_AFTER)
        return super_resolve(network, lq, scale=scale, window=window, padding=self.padding, tile=tile, progress=bar)
