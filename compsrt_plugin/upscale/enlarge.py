"""Enlarge one image: colour or grey by the network, alpha by bicubic interpolation.

Alpha is interpolated so that opaque stays opaque: bicubic interpolation, clipped and rounded, leaves flat areas
exactly as they are. A network may turn 255 into 254, and the background would shine through.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from compsrt_plugin.inference import Tile, UpscaleCall, super_resolve
from compsrt_plugin.terminal import TrackProgress
from compsrt_plugin.upscale.exif import resized
from compsrt_plugin.upscale.image import DecodedImage


def enlarge(
    image: DecodedImage,
    network: UpscaleCall,
    *,
    scale: int,
    window: int,
    tile: Tile | None,
    progress: TrackProgress | None = None,
) -> DecodedImage:
    """Return the image `scale` times as high and wide. Depth, channels and metadata stay the same.

    An 8-bit RGB image without alpha becomes exactly what `basicsr test` makes of it. Grey runs as three equal
    channels, and the mean of the output is taken. Invisible colour (alpha 0) is first replaced by the nearest visible
    colour, because it would bleed into visible edges.

    Args:
        image: any size from 1x1 up.
        network, scale, window, tile, progress: see `super_resolve`.
    """
    colour, alpha = enlarge_samples(
        image.colour, image.alpha, network, scale=scale, window=window, tile=tile, progress=progress
    )
    exif = None if image.exif is None else resized(image.exif, *colour.shape[:2])
    return replace(image, colour=colour, alpha=alpha, exif=exif)


def enlarge_samples(
    colour: np.ndarray,
    alpha: np.ndarray | None,
    network: UpscaleCall,
    *,
    scale: int,
    window: int,
    tile: Tile | None,
    progress: TrackProgress | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return colour and alpha `scale` times as high and wide. See `enlarge`.

    Args:
        colour: (h, w, 1 or 3), uint8, uint16, or float32 in 0 to 1.
        alpha: (h, w) of the same dtype, or None.
        network, scale, window, tile, progress: see `super_resolve`.
    """
    visible = colour if alpha is None else _without_hidden(colour, alpha)
    lq = torch.from_numpy(visible.astype(np.float32) / _top(colour.dtype)).permute(2, 0, 1).unsqueeze(0)
    output = super_resolve(network, lq.expand(1, 3, -1, -1), scale=scale, window=window, tile=tile, progress=progress)
    if lq.shape[1] == 1:
        output = output.mean(1, keepdim=True)
    return _samples(output, colour.dtype), None if alpha is None else _enlarged_alpha(alpha, scale)


def _top(dtype: np.dtype) -> int:
    return 1 if dtype.kind == "f" else int(np.iinfo(dtype).max)


def _samples(output: Tensor, dtype: np.dtype) -> np.ndarray:
    """Return (1, c, h, w) in 0..1 as (h, w, c) samples, rounded as BasicSR's `tensor2img` does."""
    clipped = output[0].float().cpu().clamp_(0, 1)  # in place from here on: a copy of 200 megapixels takes 2.4 GB
    if dtype.kind != "f":
        clipped.mul_(_top(dtype)).round_()
    return clipped.permute(1, 2, 0).numpy().astype(dtype)


def _enlarged_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    # In float64 the weights sum to 1 to well within half a 16-bit step.
    samples = torch.from_numpy(alpha.astype(np.float64))[None, None]
    enlarged = F.interpolate(samples, scale_factor=scale, mode="bicubic", align_corners=False)[0, 0]
    enlarged.clamp_(0, _top(alpha.dtype))
    return (enlarged if alpha.dtype.kind == "f" else enlarged.round_()).numpy().astype(alpha.dtype)


def _without_hidden(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return colour
    rows, columns = np.asarray(distance_transform_edt(hidden, return_distances=False, return_indices=True))
    return colour[rows, columns]
