"""Attention between the channels of heads, as the simulated network computes it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .coded import Code

HEADS = 3


def between_channels(bits: int, transform: str, transform_of_map: str, per_token: bool = False) -> Code:
    """Return attention between the channels of heads as the simulated network computes it.

    Args:
        bits: of q, k and v.
        transform, transform_of_map: of q, k and v, and of the map.
        per_token: whether q and k have a scale for each pixel.
    """
    quantize = torch.ops.compsrt.fake_quantize.default
    s, z, top = torch.tensor(2.0 / 2**bits), torch.tensor(-1.0), 2**bits - 1

    def code(x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = x.permute(0, 2, 3, 1).reshape(b, h * w, 3, HEADS, c // 3 // HEADS).permute(2, 0, 3, 4, 1)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        share = 1 if per_token else 8  # values of q and k are small beside 1
        q, k = (quantize(y.transpose(-2, -1), s / share, z / share, top, transform, True, per_token) for y in (q, k))
        map_ = (q.transpose(-2, -1) @ k * 2).softmax(-1)
        map_ = quantize(map_, s, z, 255, transform_of_map, True, True)
        v = quantize(v.transpose(-2, -1), s, z, top, transform, True, True)
        return (map_ @ v.transpose(-2, -1)).permute(0, 3, 1, 2).reshape(b, h * w, -1)

    return code
