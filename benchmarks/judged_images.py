"""Load the test sets under `COMPSRT_DATA`, and compute BasicSR's PSNR of a network's output on them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from basicsr.metrics.psnr_ssim import calculate_psnr
from torch import Tensor

from compsrt_plugin.inference import super_resolve
from compsrt_plugin.models.evaluation import to_image

DATA = "COMPSRT_DATA"
WINDOW = 8


class Pair(NamedTuple):
    """A low-resolution image (1, 3, h, w) in 0..1, RGB, and its original (H, W, 3), uint8, BGR."""

    lr: Tensor
    hr: np.ndarray


def pairs(data_set: str, scale: int, most: int | None) -> list[Pair]:
    """Return the first `most` images of a test set; None returns all."""
    folder = Path(os.environ[DATA]).expanduser() / data_set
    found = []
    for hr in sorted((folder / "HR").iterdir())[:most]:
        lr = folder / "LR_bicubic" / f"X{scale}" / f"{hr.stem}x{scale}{hr.suffix}"
        found.append(Pair(_read(lr), to_image(_read(hr))))
    return found


def _read(path: Path) -> Tensor:
    image = cv2.imread(str(path))[..., ::-1].transpose(2, 0, 1)
    return torch.from_numpy(image.copy()).unsqueeze(0).float() / 255


def made_by(network: Callable[[Tensor], Tensor], lr: Tensor, scale: int) -> np.ndarray:
    """Return a network's output (H, W, 3), uint8, BGR, for a whole low-resolution image."""
    with torch.no_grad():
        return to_image(super_resolve(network, lr, scale=scale, window=WINDOW))


def psnr(image: np.ndarray, hr: np.ndarray, scale: int) -> float:
    """Return the PSNR in dB on Y, without a border of `scale` pixels."""
    hr = hr[: image.shape[0], : image.shape[1]]
    return float(calculate_psnr(image, hr, crop_border=scale, test_y_channel=True))


def mean_psnr(network: Callable[[Tensor], Tensor], judged: list[Pair], scale: int) -> float:
    """Return the mean PSNR in dB of a network over images."""
    return sum(psnr(made_by(network, lr, scale), hr, scale) for lr, hr in judged) / len(judged)
