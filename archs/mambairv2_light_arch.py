"""`MambaIRv2Light`: MambaIRv2 for lightweight super-resolution (Guo et al., CVPR 2025, arXiv 2411.15269).

Written from the paper. Names and shapes are those of the authors' class, so its weight files load strictly. That class
needs the CUDA package mamba_ssm; this one runs on any device (`ops.selective_scan`).

Each of its layers is a window attention followed by an attentive state-space module (`attentive_state_space`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.registries import register_once

from .attentive_state_space import AttentiveStateSpace

_MEAN_OF_DIV2K = (0.4488, 0.4371, 0.4040)
_MASKED = -100.0  # added to attention between pixels that only the cyclic shift made neighbours
_NOISE = 1 << 14  # pixels for which there is routing noise; it repeats where there are more


class SpatialGate(nn.Module):
    """Multiply one half of the channels by a depth-wise convolution of the other.

    Args:
        width: channels of a half.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv2d(width, width, 5, padding=2, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, h, w, 2 width) to (b, h, w, width)."""
        kept, gate = x.chunk(2, -1)
        return kept * self.conv(self.norm(gate).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class GatedFeedForward(nn.Module):
    """Two linear layers with a spatial gate in between.

    Args:
        dim: channels of its input and output.
        hidden: channels before the gate, even.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.sg = SpatialGate(hidden // 2)
        self.fc2 = nn.Linear(hidden // 2, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, h, w, dim) to the same."""
        return self.fc2(self.sg(F.gelu(self.fc1(x))))


class SelfAttention(nn.Module):
    """Multi-head self-attention with a relative position bias, within one window.

    Args:
        dim: channels.
        heads: of which each has dim / heads channels.
        window: its height and width.
    """

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, qkv: Tensor, index: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within windows.

        Args:
            qkv: (b, windows, n, 3 dim).
            index: row of the bias table for each pair of pixels (n, n).
            mask: added to each window's map (windows, n, n), or None.

        Returns:
            (b, windows, n, dim).
        """
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)
        weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        weights += bias  # in place: a product needs only its operands for backward, and the map is the largest tensor
        if mask is not None:
            weights += mask.unsqueeze(1)
        return self.proj((weights.softmax(-1) @ v).transpose(2, 3).flatten(3))


class AttentiveLayer(nn.Module):
    """Window attention, then an attentive state-space module, each followed by a gated feed-forward network.

    Args:
        dim: channels.
        heads, window, shift: of the window attention; windows are shifted cyclically by `shift` pixels.
        hidden: channels within the state-space module and the feed-forward networks.
        states, prompts, rank: of the state-space module.
    """

    def __init__(
        self, dim: int, heads: int, window: int, shift: int, hidden: int, states: int, prompts: int, rank: int
    ) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(dim) for _ in range(4))
        self.scale1, self.scale2 = (nn.Parameter(torch.full((dim,), 1e-4)) for _ in range(2))
        self.wqkv = nn.Linear(dim, 3 * dim)
        self.win_mhsa = SelfAttention(dim, heads, window)
        self.assm = AttentiveStateSpace(dim, hidden, states, prompts, rank)
        self.convffn1, self.convffn2 = (GatedFeedForward(dim, hidden) for _ in range(2))
        self.embeddingA = nn.Embedding(rank, states)
        nn.init.uniform_(self.embeddingA.weight, -1 / rank, 1 / rank)

    def forward(self, x: Tensor, index: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
        """Map (b, h, w, dim) to the same.

        `index` and `mask` are those of `SelfAttention`, the mask for shifted windows, `noise` that of
        `AttentiveStateSpace`.
        """
        y = x + self._attend(self.wqkv(self.norm1(x)), index, mask)
        x = x * self.scale1 + y + self.convffn1(self.norm2(y))
        y = x + self.assm(self.norm3(x), self.embeddingA.weight, noise)
        return x * self.scale2 + y + self.convffn2(self.norm4(y))

    def _attend(self, qkv: Tensor, index: Tensor, mask: Tensor) -> Tensor:
        if not self.shift:
            return _join(self.win_mhsa(_windows(qkv, self.window), index, None), qkv.shape)
        rolled = qkv.roll((-self.shift, -self.shift), (1, 2))
        y = _join(self.win_mhsa(_windows(rolled, self.window), index, mask), qkv.shape)
        return y.roll((self.shift, self.shift), (1, 2))


def _windows(x: Tensor, window: int) -> Tensor:
    """Cut (b, h, w, c) into windows (b, h w / n, n, c), n = window ** 2 pixels."""
    b, h, w, c = x.shape
    cut = x.view(b, h // window, window, w // window, window, c).transpose(2, 3)
    return cut.reshape(b, h * w // window**2, window**2, c)


def _join(windows: Tensor, shape: Sequence[int]) -> Tensor:
    """Put windows (b, h w / n, n, c) together to (b, h, w, c); b, h and w are those of `shape`."""
    (b, h, w, _), window = shape, math.isqrt(windows.shape[2])
    return windows.view(b, h // window, w // window, window, window, -1).transpose(2, 3).reshape(b, h, w, -1)


class ResidualLayers(nn.Module):
    """Layers one after another, with shifted windows in every second one.

    Args:
        depth: number of layers.
        window: of their attention.
        layer: other arguments of `AttentiveLayer`.
    """

    def __init__(self, depth: int, window: int, **layer: int) -> None:
        super().__init__()
        shifts = [0 if i % 2 == 0 else window // 2 for i in range(depth)]
        self.layers = nn.ModuleList(AttentiveLayer(window=window, shift=shift, **layer) for shift in shifts)

    def forward(self, x: Tensor, *shared: Tensor) -> Tensor:
        """Map (b, h, w, dim) to the same; `shared` as of `AttentiveLayer`."""
        for layer in self.layers:
            x = layer(x, *shared)
        return x


class ResidualGroup(nn.Module):
    """Layers and a convolution, with a residual connection around them; arguments of `ResidualLayers`."""

    def __init__(self, **layers: int) -> None:
        super().__init__()
        self.residual_group = ResidualLayers(**layers)
        self.conv = nn.Conv2d(layers["dim"], layers["dim"], 3, padding=1)

    def forward(self, x: Tensor, *shared: Tensor) -> Tensor:
        """Map (b, h, w, dim) to the same; `shared` as of `AttentiveLayer`."""
        y = self.residual_group(x, *shared)
        return x + self.conv(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@register_once(ARCH_REGISTRY)
class MambaIRv2Light(nn.Module):
    """MambaIRv2-light: shallow convolution, groups of attentive layers, one-step pixel-shuffle upsampler.

    It takes images of any size: they are mirrored to a multiple of the window, and the result is cropped.

    Args:
        upscale: scale factor.
        in_chans: channels of images.
        embed_dim: channels of features.
        d_state: states of each scanned channel.
        depths: number of layers in each group.
        num_heads: of the attention in each group.
        window_size: of the attention.
        inner_rank: rank of the prompt pool.
        num_tokens: size of the prompt pool.
        mlp_ratio: hidden channels by `embed_dim`.
        img_range: images are multiplied by it.
    """

    WEIGHTS: ClassVar = "MambaIRv2Light's authors publish theirs at https://github.com/csguoh/MambaIR/releases/tag/v1.0"

    relative_position_index_SA: Tensor
    mean: Tensor
    noise: Tensor

    def __init__(
        self,
        upscale: int = 4,
        in_chans: int = 3,
        embed_dim: int = 48,
        d_state: int = 8,
        depths: Sequence[int] = (5, 5, 5, 5),
        num_heads: Sequence[int] = (4, 4, 4, 4),
        window_size: int = 16,
        inner_rank: int = 32,
        num_tokens: int = 64,
        mlp_ratio: float = 1.0,
        img_range: float = 1.0,
    ) -> None:
        super().__init__()
        self.upscale, self.img_range, self.window = upscale, img_range, window_size
        mean = torch.tensor(_MEAN_OF_DIV2K if in_chans == 3 else [0.0] * in_chans)
        self.register_buffer("mean", mean.view(-1, 1, 1), persistent=False)
        self.register_buffer("noise", _gumbel_noise(num_tokens), persistent=False)
        self.register_buffer("relative_position_index_SA", _pair_index(window_size))
        self.conv_first = nn.Conv2d(in_chans, embed_dim, 3, padding=1)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(embed_dim)})
        layer = {"dim": embed_dim, "hidden": int(embed_dim * mlp_ratio), "window": window_size}
        layer |= {"states": d_state, "prompts": num_tokens, "rank": inner_rank}
        sizes = zip(depths, num_heads, strict=True)
        self.layers = nn.ModuleList(ResidualGroup(depth=depth, heads=heads, **layer) for depth, heads in sizes)
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = nn.Conv2d(embed_dim, embed_dim, 3, padding=1)
        last = nn.Conv2d(embed_dim, in_chans * upscale**2, 3, padding=1)
        self.upsample = nn.Sequential(last, nn.PixelShuffle(upscale))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(cast(Tensor, module.bias))

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge images (b, c, h, w) to (b, c, h * upscale, w * upscale)."""
        height, width = x.shape[2:]
        x = (_mirrored(_mirrored(x, 2, self.window), 3, self.window) - self.mean) * self.img_range
        shallow = self.conv_first(x)
        y = self.patch_embed["norm"](shallow.permute(0, 2, 3, 1))
        mask = _shift_mask(y, self.window)
        for group in self.layers:
            y = group(y, self.relative_position_index_SA, mask, self.noise)
        deep = self.conv_after_body(self.norm(y).permute(0, 3, 1, 2)) + shallow
        output = self.upsample(deep) / self.img_range + self.mean
        return output[..., : height * self.upscale, : width * self.upscale]


def _mirrored(x: Tensor, axis: int, multiple: int) -> Tensor:
    """Continue x along an axis by its mirror image, edge pixel included, to a multiple of `multiple`."""
    size = x.shape[axis]
    if size % multiple == 0:
        return x
    place = torch.arange(-(-size // multiple) * multiple, device=x.device) % (2 * size)
    return x.index_select(axis, torch.minimum(place, 2 * size - 1 - place))


def _gumbel_noise(prompts: int) -> Tensor:
    """Return the same noise at every call (`_NOISE`, prompts)."""
    drawn = torch.empty(_NOISE, prompts, dtype=torch.float32, device="cpu")
    return -drawn.exponential_(generator=torch.Generator("cpu").manual_seed(0)).log()


def _pair_index(window: int) -> Tensor:
    """Return the row of the bias table for each pair of a window's pixels (n, n): by their offset, row by row."""
    side = torch.arange(window, device=None)  # where the network is built
    y, x = (part.flatten() for part in torch.meshgrid(*[side] * 2, indexing="ij"))
    down, right = (part[:, None] - part + window - 1 for part in (y, x))
    return down * (2 * window - 1) + right


def _shift_mask(x: Tensor, window: int) -> Tensor:
    """Return the mask of windows shifted by half their side (windows, n, n), for features x (b, h, w, c).

    The last window of each row and column holds pixels from opposite edges of the image.
    """
    regions = []
    for size in x.shape[1:3]:
        place = torch.arange(size, device=x.device)
        regions.append((place >= size - window).long() + (place >= size - window // 2).long())
    region = _windows((3 * regions[0][:, None] + regions[1])[None, ..., None], window)[0]  # (windows, n, 1)
    return x.new_zeros(1).masked_fill(region != region.transpose(1, 2), _MASKED)
