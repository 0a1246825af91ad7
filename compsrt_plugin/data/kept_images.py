"""Keep training images decoded in memory, so that a patch costs a copy instead of two decodings.

An image takes 3 bytes per pixel, a quarter of its size as floats. Shrunk versions can be kept too: for a network, a
shrunk photograph is another one, sharper and with other textures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from basicsr.data.transforms import augment, paired_random_crop
from torch import Tensor

from compsrt_plugin import threads
from compsrt_plugin.data.images import read_image, stamp
from compsrt_plugin.data.resize import downscale, imresize, mod_crop

Name = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class KeptImage:
    """The versions of one image, each uint8 (height, width, 3) in BGR.

    Attributes:
        hr: the original.
        lr: low resolution.
        target: the output of a stronger network for `lr`, as large as `hr`, if it is used for training.
        name: identifies its files, their versions, and the shrinking.
    """

    hr: np.ndarray
    lr: np.ndarray
    target: np.ndarray | None = None
    name: Name = ()

    def crop(self, gt_size: int, scale: int, flip: bool, rotate: bool, name: str) -> dict[str, Tensor]:
        """Return a patch like BasicSR's data set, with the same draws of Python's generator.

        Returns:
            `lq` (3, h, w), `gt` (3, h * scale, w * scale) and, if there is one, `target` like `gt`; 0..1, RGB.
        """
        large = [self.hr] if self.target is None else [self.hr, self.target]
        cropped, lq = paired_random_crop(large, self.lr, gt_size, scale, name)
        cropped = cropped if isinstance(cropped, list) else [cropped]
        # copies, because BasicSR flips in place
        patches: Any = augment([np.array(part) for part in (lq, *cropped)], flip, rotate)
        # NumPy has one thread; torch would wake all of its own for a millisecond of work. Conversion to float is last.
        floats = [np.ascontiguousarray(patch[..., ::-1].transpose(2, 0, 1), np.float32) / 255 for patch in patches]
        return {key: torch.from_numpy(patch) for key, patch in zip(("lq", "gt", "target"), floats)}


# Images that data sets of this process hold. A run builds several data sets of the same files.
_held: WeakValueDictionary[Name, KeptImage] = WeakValueDictionary()


def decode_kept(pairs: Sequence[tuple[Path, Path]]) -> list[KeptImage]:
    """Return images (HR, LR), shared with other data sets that hold them. CompSRTError for a damaged image."""

    def read(name: Name) -> KeptImage:
        return KeptImage(read_image(Path(name[0])), read_image(Path(name[1])), name=name)

    return _made_once([(*map(str, pair), *map(stamp, pair)) for pair in pairs], read)


def shrunk(images: Sequence[KeptImage], share: float, scale: int) -> list[KeptImage]:
    """Return the images shrunk: HR by MATLAB's bicubic, and LR from the shrunk HR in the same way.

    Args:
        images: the images.
        share: factor of width and height, above 0 and below 1.
        scale: HR side / LR side.
    """
    names = [(*image.name, share, scale) for image in images]
    whole = dict(zip(names, images))

    def shrink(name: Name) -> KeptImage:
        hr = mod_crop(imresize(whole[name].hr, share), scale)
        return KeptImage(np.ascontiguousarray(hr), downscale(hr, scale), name=name)

    return _made_once(names, shrink)


def _made_once(names: Sequence[Name], make: Callable[[Name], KeptImage]) -> list[KeptImage]:
    """Return the images of these names. Images that no data set holds are made in parallel."""
    found = {name: _held.get(name) for name in names}
    missing = [name for name, image in found.items() if image is None]
    with threads.executor(8) as executor:  # decoding and resizing release the GIL
        found |= zip(missing, executor.map(make, missing))
    _held.update((name, image) for name, image in found.items() if image is not None)
    return [image for name in names if (image := found[name]) is not None]


def with_targets(images: Sequence[KeptImage], targets: Sequence[np.ndarray]) -> list[KeptImage]:
    """Return the images with the outputs of a stronger network."""
    return [replace(image, target=target) for image, target in zip(images, targets)]
