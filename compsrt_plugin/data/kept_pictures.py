"""Training pictures kept decoded in memory: patches cost a copy instead of two decodings.

A picture is 3 bytes a pixel, a quarter of what it takes as floats. Beside the pictures themselves smaller versions of
them may be kept: a photograph shrunk is another one to a network, sharper and with other textures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.data.transforms import augment, paired_random_crop
from torch import Tensor

from compsrt_plugin.data.images import read_image
from compsrt_plugin.data.resize import downscale, imresize, mod_crop


@dataclass(frozen=True)
class KeptPicture:
    """One picture in all its versions, each uint8 (height, width, 3) in BGR.

    Attributes:
        hr: the original.
        lr: low resolution.
        target: what a stronger network makes of `lr`, as large as `hr`, if it is learnt from.
    """

    hr: np.ndarray
    lr: np.ndarray
    target: np.ndarray | None = None

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


def decoded(pairs: Sequence[tuple[Path, Path]]) -> list[KeptPicture]:
    """Read pictures (HR, LR); CompSRTError for one that is damaged."""
    with _threads() as executor:  # decoding leaves Python's lock alone
        pictures = list(executor.map(read_image, [file for pair in pairs for file in pair]))
    return [KeptPicture(hr, lr) for hr, lr in zip(pictures[::2], pictures[1::2])]


def shrunk(pictures: Sequence[KeptPicture], share: float, scale: int) -> list[KeptPicture]:
    """Return the pictures at a share of their size: HR by MATLAB's bicubic, LR from that in the same way.

    Args:
        pictures: what to shrink.
        share: of width and height, above 0 and below 1.
        scale: of LR.
    """

    def one(picture: KeptPicture) -> KeptPicture:
        hr = mod_crop(imresize(picture.hr, share), scale)
        return KeptPicture(np.ascontiguousarray(hr), downscale(hr, scale))

    with _threads() as executor:
        return list(executor.map(one, pictures))


def with_targets(pictures: Sequence[KeptPicture], targets: Sequence[np.ndarray]) -> list[KeptPicture]:
    """Return the pictures with what a stronger network makes of each."""
    return [replace(picture, target=target) for picture, target in zip(pictures, targets)]


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1))
