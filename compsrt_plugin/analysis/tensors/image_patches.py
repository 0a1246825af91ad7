"""Provide the low-resolution patches for activations: from a folder, a training set, or embedded images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compsrt_plugin.config.blocks import CalibrationBlock
from compsrt_plugin.data import embedded_pairs
from compsrt_plugin.data.images import image_size, images_in, read_image
from compsrt_plugin.inference import pad_to_windows

SIDE = 64  # low-resolution pixels per side of a patch, as in the paper


@dataclass(frozen=True)
class PatchSet:
    """Patches in a fixed order, read lazily.

    Attributes:
        about: description.
        count: number of patches.
        source: yields the patches, each (1, 3, h, w) in 0..1.
    """

    about: str
    count: int
    source: Callable[[], Iterable[Tensor]]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.source())


def from_folder(folder: Path, window: int, most: int | None = None) -> PatchSet:
    """Return patches of up to 64 × 64 pixels of all low-resolution images in a folder.

    Patches at the right and bottom edges overlap their neighbours, so that all have the same size.

    Args:
        folder: folder of images.
        window: patches of smaller images are padded to multiples of this.
        most: maximum number of patches, evenly spread; None takes all.

    Raises:
        CompSRTError: the folder is missing or has no images, or an image is damaged.
    """
    files = images_in(folder)
    return _cut(files, f"images in {folder.name}", window, most)


def embedded(scale: int, window: int, most: int | None = None) -> PatchSet:
    """Return patches of the four coloured calibration images that come with the package.

    Args:
        scale: scale of the network.
        window, most: see `from_folder`.
    """
    _, folder = embedded_pairs("calibration", scale, "holdout")
    return _cut(sorted(folder.iterdir()), "embedded calibration images", window, most)


def from_train_set(options: Mapping[str, Any], block: CalibrationBlock, most: int | None = None) -> PatchSet:
    """Return the patches on which `basicsr train` searches bounds.

    Args:
        options: checked options of a train file.
        block: number and size of the patches.
        most: replaces the number of patches.
    """
    from compsrt_plugin.training.patches import CalibrationPatches

    scale = options["scale"]
    train = {**options["datasets"]["train"], "phase": "train", "scale": scale}
    seed = options.get("manual_seed") or 0
    opt = {"scale": scale, "manual_seed": seed, "datasets": {"train": copy.deepcopy(train)}}
    block = CalibrationBlock(patches=most or block.patches, patch_size=block.patch_size)
    patches = CalibrationPatches(opt, block, torch.device("cpu"))
    about = f"{block.patches} random patches of {block.patch_size} x {block.patch_size} pixels from {train['name']}"
    return PatchSet(about, block.patches, lambda: patches("patches"))


def to_input(image: np.ndarray) -> Tensor:
    """Convert an image (h, w, 3), blue first, 0..255, to a network's input (1, 3, h, w), red first, 0..1."""
    return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1).unsqueeze(0).float() / 255


def _cut(files: Sequence[Path], what: str, window: int, most: int | None) -> PatchSet:
    places = [(file, top, left) for file in files for top, left in _corners(*image_size(file))]
    if most is not None and most < len(places):
        chosen = np.linspace(0, len(places) - 1, most).round().astype(int)
        places = [places[number] for number in chosen]

    def read() -> Iterator[Tensor]:
        last, image = None, np.empty(0)
        for file, top, left in places:
            if file != last:
                last, image = file, read_image(file)
            yield pad_to_windows(to_input(image[top : top + SIDE, left : left + SIDE]), window, "reflect")

    images = len({file for file, _, _ in places})
    about = f"{len(places)} patches of up to {SIDE} x {SIDE} low-resolution pixels, from {images} {what}"
    return PatchSet(about, len(places), read)


def _corners(height: int, width: int) -> list[tuple[int, int]]:
    return [(top, left) for top in _starts(height) for left in _starts(width)]


def _starts(length: int) -> list[int]:
    """Return the starts of patches along one axis.

    >>> _starts(60), _starts(130)
    ([0], [0, 64, 66])
    """
    return [*range(0, max(1, length - SIDE), SIDE), *([length - SIDE] if length > SIDE else [])]
