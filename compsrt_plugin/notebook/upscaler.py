"""A packed network that upscales whatever holds an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from compsrt_plugin.inference import Tile, tile_of_size
from compsrt_plugin.notebook.images import to_pil, unpack
from compsrt_plugin.packed_network import build, count_parameters, open_packed
from compsrt_plugin.upscale.enlarge import enlarge, enlarge_samples
from compsrt_plugin.upscale.network import OpenNetwork
from compsrt_plugin.upscale.reading import read_picture


@dataclass(frozen=True)
class Info:
    """What a packed network is.

    Attributes:
        path: of the packed file.
        architecture: name of its class.
        scale: factor by which it enlarges.
        bits: nominal width of its codes.
        recipe: by which it was made.
        bytes: of the file on disk.
        parameters: of the network in full precision.
        engine: whether the integer engine runs it; else PyTorch does, with simulated quantizers.
        why_not: why the engine does not.
    """

    path: Path
    architecture: str
    scale: int
    bits: int
    recipe: str
    bytes: int
    parameters: int
    engine: bool
    why_not: str

    def __str__(self) -> str:
        runs = "integer engine" if self.engine else f"PyTorch, simulated ({self.why_not or 'as asked'})"
        return (
            f"{self.path.name}: {self.architecture} x{self.scale}, {self.bits} bits, recipe {self.recipe}\n"
            f"{self.bytes:,} bytes on disk, {self.parameters:,} parameters, run by: {runs}"
        )


class Upscaler:
    """A packed network, ready to run. `load` makes one.

    Attributes:
        scale: factor by which it enlarges.
        bits: nominal width of its codes.
        engine: whether the integer engine runs it.
        path: of the packed file.
    """

    def __init__(self, network: OpenNetwork) -> None:
        self._network = network
        self.scale, self.bits = network.scale, network.bits
        self.engine, self.path = network.engine, network.path

    def __repr__(self) -> str:
        return f"Upscaler({self.path.name}, x{self.scale}, {self.bits} bits)"

    def upscale(self, image: Any, *, tile: int | None = None) -> Any:
        """Return the image `scale` times as high and wide, as the kind of object that was given.

        Samples of 8 and 16 bits become what `basicsr upscale` makes of the same file. Alpha is enlarged by bicubic
        interpolation. Colour is RGB; OpenCV's BGR arrays have to be turned before.

        Args:
            image: a NumPy array (h, w), (h, w, c) or (n, h, w, c), a tensor (c, h, w) or (n, c, h, w), a PIL image, or
                the path of an image file. c is 1 to 4: grey, grey and alpha, RGB, RGBA. Samples are uint8, uint16 or
                floating in 0 to 1.
            tile: side of the tiles in which large images run, in low-resolution pixels; None: as memory allows.

        Returns:
            An array, tensor or PIL image of the same dtype and channels; for a path a PIL image of 8 bits.

        Raises:
            CompSRTError: not an image, or a file that cannot be read.
        """
        cut = None if tile is None else tile_of_size(tile, self._network.window)
        if isinstance(image, (str, Path)):
            network, picture = self._network, read_picture(Path(image).expanduser())
            made = enlarge(picture, network.run, scale=network.scale, window=network.window, tile=cut).in_8_bits()
            return to_pil(made.samples(), {"icc_profile": made.icc} if made.icc else None)
        arrays, back = unpack(image)
        return back([self._enlarged(array, cut) for array in arrays])

    def _enlarged(self, samples: np.ndarray, tile: Tile | None) -> np.ndarray:
        network, with_alpha = self._network, samples.shape[2] in (2, 4)
        colour, alpha = (samples[:, :, :-1], samples[:, :, -1]) if with_alpha else (samples, None)
        colour, alpha = enlarge_samples(
            colour, alpha, network.run, scale=network.scale, window=network.window, tile=tile
        )
        return colour if alpha is None else np.dstack([colour, alpha])

    def info(self) -> Info:
        """Return what the network is; `print` it."""
        return self._info

    @cached_property
    def _info(self) -> Info:
        source, network = open_packed(self.path), self._network
        base = source.header.arch.get("base")
        kind = base.get("type") or base.get("file") if isinstance(base, dict) else None
        return Info(
            path=self.path,
            architecture=str(kind or source.header.arch["type"]),
            scale=self.scale,
            bits=self.bits,
            recipe=source.header.recipe,
            bytes=self.path.stat().st_size,
            parameters=count_parameters(build(source.header, self.path)),
            engine=self.engine,
            why_not=network.why_not,
        )
