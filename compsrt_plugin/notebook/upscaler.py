"""Define `Upscaler`, a packed network that upscales arrays, tensors, PIL images and files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from compsrt_plugin.inference import Tile, tile_of_size
from compsrt_plugin.notebook.arrays import to_pil, unpack
from compsrt_plugin.packed.open import build, count_parameters, open_packed
from compsrt_plugin.upscale.enlarge import enlarge, enlarge_samples
from compsrt_plugin.upscale.open_network import OpenNetwork
from compsrt_plugin.upscale.reading import decode_image


@dataclass(frozen=True)
class Info:
    """Facts about a packed network.

    Attributes:
        path: the packed file.
        architecture: name of its class.
        scale: factor by which it enlarges.
        bits: nominal code width.
        recipe: the quantization recipe.
        bytes: size of the file on disk.
        parameters: number of parameters of the full-precision network.
        engine: whether the integer engine runs it. If not, PyTorch does, with simulated quantizers.
        why_not: why the engine does not run it.
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
    """A packed network, ready to run. `load` returns one.

    Attributes:
        scale: factor by which it enlarges.
        bits: nominal code width.
        engine: whether the integer engine runs it.
        path: the packed file.
    """

    def __init__(self, network: OpenNetwork) -> None:
        self._network = network
        self.scale, self.bits = network.scale, network.bits
        self.engine, self.path = network.engine, network.path

    def __repr__(self) -> str:
        return f"Upscaler({self.path.name}, x{self.scale}, {self.bits} bits)"

    def upscale(self, image: Any, *, tile: int | None = None) -> Any:
        """Return the image `scale` times as high and wide, in the type that was given.

        Samples of 8 and 16 bits give the same result as `basicsr upscale`. Alpha is enlarged by bicubic interpolation.
        Colour is RGB. Convert OpenCV's BGR arrays first.

        Args:
            image: a NumPy array (h, w), (h, w, c) or (n, h, w, c), a tensor (c, h, w) or (n, c, h, w), a PIL image, or
                the path of an image file. c is 1 to 4: grey, grey and alpha, RGB, RGBA. Samples are uint8, uint16 or
                floating-point in 0 to 1.
            tile: side of the tiles of large images, in low-resolution pixels. None chooses it by memory.

        Returns:
            An array, tensor or PIL image of the same dtype and channels. For a path, an 8-bit PIL image.

        Raises:
            CompSRTError: the object is not an image, or the file cannot be read.
        """
        cut = None if tile is None else tile_of_size(tile, self._network.window)
        if isinstance(image, (str, Path)):
            network, decoded = self._network, decode_image(Path(image).expanduser())
            made = enlarge(decoded, network.run, scale=network.scale, window=network.window, tile=cut).in_8_bits()
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
        """Return facts about the network, in a form to `print`."""
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
