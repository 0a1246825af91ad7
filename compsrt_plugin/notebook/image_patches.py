"""Calibration patches cut from images of a notebook: files, arrays, tensors, PIL images."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from compsrt_plugin.buckets import Place
from compsrt_plugin.config.blocks import CalibrationBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.notebook.arrays import unpack
from compsrt_plugin.terminal import progress
from compsrt_plugin.upscale.jobs import find_images
from compsrt_plugin.upscale.reading import decode_image

SMALLEST = 16  # pixels, height and width of an image
ALLOWED = "files, folders, patterns, NumPy arrays, tensors, PIL images, or a list of these"


class ImagePatches:
    """Patches at random places of images, as `quant.passes.registry.Patches` yields them.

    Images are taken in turn from a shuffle, and each is read once. An image smaller than a patch gives the patch that
    it holds.

    Args:
        images: see `compsrt_plugin.quantize`.
        block: number of patches, and their width and height.
        device: device of the patches.
        seed: of shuffle and places.

    Attributes:
        about: how many patches of how many images, for the header of the packed file.

    Raises:
        CompSRTError: there are no images, or one cannot be read or is too small.
    """

    def __init__(self, images: Any, block: CalibrationBlock, device: torch.device, seed: int) -> None:
        self.block = block
        sources, chance = list(_sources(images)), random.Random(seed)
        if not sources:
            raise CompSRTError("there are no calibration images", allowed=ALLOWED)
        chance.shuffle(sources)
        counts = [len(range(first, block.patches, len(sources))) for first in range(min(len(sources), block.patches))]
        self._patches = [
            patch.to(device)
            for source, count in progress(list(zip(sources, counts)), desc="reading images", unit="images")
            for patch in _cut(_colour(source), count, block.patch_size, chance)
        ]
        size = f"{block.patch_size} x {block.patch_size}"
        self.about = f"{len(self._patches)} patches of {size} pixels from {len(counts)} images"

    def __call__(self, title: str, limit: int | None = None) -> Iterator[Tensor]:
        """Yield patches (1, 3, h, w) in 0..1; see `quant.passes.registry.Patches`."""
        yield from progress(self._patches[:limit], desc=title, unit="patches")


def _sources(images: Any) -> Iterator[Place | np.ndarray]:
    """Yield the images: files or objects of buckets, and arrays (h, w, c)."""
    if isinstance(images, (str, Path)):
        yield from sorted(find_images(str(images))[0], key=str)
    elif isinstance(images, (np.ndarray, Tensor, Image.Image)):
        yield from unpack(images)[0]
    elif isinstance(images, Iterable) and not isinstance(images, (dict, bytes)):
        for one in images:
            yield from _sources(one)
    else:
        raise CompSRTError(f"the calibration images are a {type(images).__name__}", allowed=ALLOWED)


def _colour(source: Place | np.ndarray) -> Tensor:
    """Return an image as (3, h, w) in 0..1: grey as three equal channels, without alpha."""
    samples = source if isinstance(source, np.ndarray) else decode_image(source).colour
    height, width, channels = samples.shape
    if min(height, width) < SMALLEST:
        name = "a calibration image" if isinstance(source, np.ndarray) else source
        raise CompSRTError(f"{name} has {width} x {height} pixels", allowed=f"at least {SMALLEST} x {SMALLEST}")
    top = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)
    colour = torch.from_numpy(samples[..., : 3 if channels > 2 else 1].astype(np.float32) / top)
    return colour.movedim(-1, 0).expand(3, -1, -1)


def _cut(image: Tensor, count: int, side: int, chance: random.Random) -> Iterator[Tensor]:
    height, width = (min(side, length) for length in image.shape[1:])
    for _ in range(count):
        top, left = chance.randint(0, image.shape[1] - height), chance.randint(0, image.shape[2] - width)
        yield image[None, :, top : top + height, left : left + width].contiguous()
