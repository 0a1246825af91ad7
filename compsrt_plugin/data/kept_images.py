"""Training images kept decoded in memory: patches cost a copy instead of two decodings.

An image is 3 bytes a pixel, a quarter of what it takes as floats. Beside the images themselves smaller versions of
them may be kept: a photograph shrunk is another one to a network, sharper and with other textures.
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
    """One image in all its versions, each uint8 (height, width, 3) in BGR.

    Attributes:
        hr: the original.
        lr: low resolution.
        target: what a stronger network makes of `lr`, as large as `hr`, if it is learnt from.
        name: what it was made from: files as they were, and how they were shrunk.
    """

    hr: np.ndarray
    lr: np.ndarray
    target: np.ndarray | None = None
    name: Name = ()

    def crop(self, gt_size: int, scale: int, flip: bool, rotate: bool, name: str) -> dict[str, Tensor]:
        """Return a patch as BasicSR's data set would, with the same draws of Python's generator.

        Returns:
            `lq` (3, h, w), `gt` (3, h * scale, w * scale) and, if there is one, `target` like `gt`; 0..1, RGB.
        """
        large = [self.hr] if self.target is None else [self.hr, self.target]
        cropped, lq = paired_random_crop(large, self.lr, gt_size, scale, name)
        cropped = cropped if isinstance(cropped, list) else [cropped]
        # copies, since BasicSR flips in place
        patches: Any = augment([np.array(part) for part in (lq, *cropped)], flip, rotate)
        # NumPy, which has one thread: torch would wake all of its own for a millisecond's work. Floats are made last.
        floats = [np.ascontiguousarray(patch[..., ::-1].transpose(2, 0, 1), np.float32) / 255 for patch in patches]
        return {key: torch.from_numpy(patch) for key, patch in zip(("lq", "gt", "target"), floats)}


# Images that some data set of this process holds: a run builds several data sets of the same files.
_held: WeakValueDictionary[Name, KeptImage] = WeakValueDictionary()


def decode_kept(pairs: Sequence[tuple[Path, Path]]) -> list[KeptImage]:
    """Read images (HR, LR), unless another data set holds them already; CompSRTError for one that is damaged."""

    def read(name: Name) -> KeptImage:
        return KeptImage(read_image(Path(name[0])), read_image(Path(name[1])), name=name)

    return _made_once([(*map(str, pair), *map(stamp, pair)) for pair in pairs], read)


def shrunk(pictures: Sequence[KeptImage], share: float, scale: int) -> list[KeptImage]:
    """Return the images at a share of their size: HR by MATLAB's bicubic, LR from that in the same way.

    Args:
        images: what to shrink.
        share: of width and height, above 0 and below 1.
        scale: of LR.
    """
    names = [(*picture.name, share, scale) for picture in pictures]
    whole = dict(zip(names, pictures))

    def shrink(name: Name) -> KeptImage:
        hr = mod_crop(imresize(whole[name].hr, share), scale)
        return KeptImage(np.ascontiguousarray(hr), downscale(hr, scale), name=name)

    return _made_once(names, shrink)


def _made_once(names: Sequence[Name], make: Callable[[Name], KeptImage]) -> list[KeptImage]:
    """Return the images of these names; those that no one holds are made, several at a time."""
    found = {name: _held.get(name) for name in names}
    missing = [name for name, picture in found.items() if picture is None]
    with threads.executor(8) as executor:  # decoding and resizing leave Python's lock alone
        found |= zip(missing, executor.map(make, missing))
    _held.update((name, picture) for name, picture in found.items() if picture is not None)
    return [picture for name in names if (picture := found[name]) is not None]


def with_targets(pictures: Sequence[KeptImage], targets: Sequence[np.ndarray]) -> list[KeptImage]:
    """Return the images with what a stronger network makes of each."""
    return [replace(picture, target=target) for picture, target in zip(pictures, targets)]
