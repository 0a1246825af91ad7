"""Pad an image of any size to whole windows."""

from __future__ import annotations

import torch
from torch import Tensor

PADDINGS = ("reflect", "flip")


def pad_to_windows(lq: Tensor, window: int, mode: str) -> Tensor:
    """Pad height and width at the bottom and right to multiples of `window`.

    Args:
        lq: (b, c, h, w), any size from 1x1 up.
        window: window size of the network.
        mode: `reflect` mirrors without repeating the edge and pads only where needed, like BasicSR's SwinIRModel.
            `flip` mirrors with the edge repeated and always adds at least one row and column, like SwinIR's test script
            and 2DQuant. Their PSNR differs in the second decimal.

    Returns:
        (b, c, h', w'), with the image at the top left.
    """
    for axis in (2, 3):
        size = lq.shape[axis]
        indices = mirrored_indices(size, padded_size(size, window, mode), mode == "flip")
        lq = lq.index_select(axis, indices.to(lq.device))
    return lq


def padded_size(size: int, window: int, mode: str) -> int:
    """Return the size of an axis of `size` pixels after `pad_to_windows`.

    >>> [padded_size(size, 8, mode) for mode in PADDINGS for size in (15, 16)]
    [16, 16, 16, 24]
    """
    return (size // window + 1) * window if mode == "flip" else -(-size // window) * window


def mirrored_indices(size: int, target: int, repeat_edge: bool) -> Tensor:
    """Return `target` indices into an axis of `size`, mirrored at its ends as often as needed.

    >>> mirrored_indices(3, 8, repeat_edge=False).tolist()
    [0, 1, 2, 1, 0, 1, 2, 1]
    >>> mirrored_indices(3, 8, repeat_edge=True).tolist()
    [0, 1, 2, 2, 1, 0, 0, 1]
    """
    period = 2 * size if repeat_edge else max(2 * size - 2, 1)
    index = torch.arange(target, device="cpu") % period
    return torch.where(index < size, index, (period - (1 if repeat_edge else 0) - index).abs())
