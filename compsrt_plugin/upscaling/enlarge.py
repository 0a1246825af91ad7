"""A picture through the network: colour or grey by the network, alpha by bicubic interpolation.

Bicubic for alpha, because what is opaque must stay opaque: clipped and rounded it leaves flat areas exactly as they
were, where a network's 254 of 255 would let the background through.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from compsrt_plugin.inference import Network, Progress, Tile, super_resolve
from compsrt_plugin.upscaling.exif import resized
from compsrt_plugin.upscaling.picture import Picture


def enlarge(
    picture: Picture, network: Network, *, scale: int, window: int, tile: Tile | None, progress: Progress | None = None
) -> Picture:
    """Return the picture `scale` times as high and wide; depth, channels and what goes with it stay.

    An RGB picture in 8 bits without alpha becomes what `basicsr test` makes of it, sample for sample. Grey runs as
    three equal channels, of which the mean is taken. Colour that cannot be seen (alpha 0) is replaced by the nearest
    that can, or it would shine through at the edges.

    Args:
        picture: of any size from 1x1 up.
        network, scale, window, tile, progress: as of `super_resolve`.
    """
    top = picture.top
    colour = picture.colour if picture.alpha is None else _without_hidden(picture.colour, picture.alpha)
    lq = torch.from_numpy(colour.astype(np.float32) / top).permute(2, 0, 1).unsqueeze(0)
    grey = lq.shape[1] == 1
    output = super_resolve(network, lq.expand(1, 3, -1, -1), scale=scale, window=window, tile=tile, progress=progress)
    if grey:
        output = output.mean(1, keepdim=True)
    height, width = output.shape[2:]
    return replace(
        picture,
        colour=_samples(output, picture.colour.dtype),
        alpha=None if picture.alpha is None else _enlarged_alpha(picture.alpha, scale),
        exif=None if picture.exif is None else resized(picture.exif, height, width),
    )


def _samples(output: Tensor, dtype: np.dtype) -> np.ndarray:
    """Return (1, c, h, w) in 0..1 as (h, w, c) samples, rounded as BasicSR's `tensor2img` does."""
    clipped = output[0].float().cpu().clamp_(0, 1)  # in place from here on: at 200 megapixels a copy is 2.4 GB
    return clipped.mul_(np.iinfo(dtype).max).round_().permute(1, 2, 0).numpy().astype(dtype)


def _enlarged_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    # float64: the weights' sum is then 1 well within half a step of 16 bits
    samples = torch.from_numpy(alpha.astype(np.float64))[None, None]
    enlarged = F.interpolate(samples, scale_factor=scale, mode="bicubic", align_corners=False)
    return enlarged[0, 0].clamp_(0, np.iinfo(alpha.dtype).max).round_().numpy().astype(alpha.dtype)


def _without_hidden(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return colour
    rows, columns = np.asarray(distance_transform_edt(hidden, return_distances=False, return_indices=True))
    return colour[rows, columns]
