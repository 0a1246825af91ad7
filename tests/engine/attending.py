"""Small networks of foreign code whose windows attend, in several ways of writing it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, freeze
from compsrt_plugin.quant.tracing.discovery import discover

CHANNELS, HEADS = 24, 2
Between = Callable[["Attention", Tensor], Tensor]


class Attention(nn.Module):
    """Windows attend to themselves; `between` does what lies between the two products.

    Args:
        between: returns the map of the module and its scores.
        window: its side.
        keys: share of a window's tokens that are keys; those above 1 come twice.
        einsum: whether products are written so.
    """

    def __init__(self, between: Between, window: int = 8, keys: float = 1, einsum: bool = False) -> None:
        super().__init__()
        self.between, self.window, self.tokens, self.einsum = between, window, window**2, einsum
        self.keys = int(keys * self.tokens)
        self.qkv, self.proj = nn.Linear(CHANNELS, 3 * CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.bias = nn.Parameter(torch.randn(HEADS, self.tokens, self.keys))
        self.temperature = nn.Parameter(torch.rand(HEADS, 1, 1) + 0.5)
        hidden = torch.rand(4, self.tokens, self.keys) < 0.2
        self.register_buffer("mask", torch.where(hidden, -100.0, 0.0))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        side = self.window
        windows = x.view(b, c, h // side, side, w // side, side).permute(0, 2, 4, 3, 5, 1).reshape(-1, self.tokens, c)
        q, k, v = self.qkv(windows).reshape(-1, self.tokens, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        q, k, v = q * (c // HEADS) ** -0.5, *(torch.cat([x, x], -2)[..., : self.keys, :] for x in (k, v))
        if self.einsum:
            y = self.between(self, torch.einsum("b h i d, b h j d -> b h i j", q, k))
            y = torch.einsum("bhij,bhjd->bhid", y, v)
        else:
            y = self.between(self, q @ k.transpose(-2, -1)) @ v
        y = self.proj(y.transpose(1, 2).reshape(-1, self.tokens, c))
        return x + y.view(b, h // side, w // side, side, side, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


class Network(nn.Module):
    def __init__(self, between: Between, window: int = 8, **attention: Any) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, 3, 3, padding=1)
        self.attention = Attention(between, window, **attention)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.attention(self.first(x)))


def biased(attn: Attention, scores: Tensor) -> Tensor:
    return (scores + attn.bias.unsqueeze(0)).softmax(dim=-1)


def masked(attn: Attention, scores: Tensor) -> Tensor:
    n, keys = scores.shape[-2:]
    scores = scores + attn.bias
    scores = scores.view(-1, 4, HEADS, n, keys) + attn.mask.unsqueeze(1).unsqueeze(0)
    return F.dropout(F.softmax(scores.view(-1, HEADS, n, keys), -1), 0.1, attn.training)


def scaled_after(attn: Attention, scores: Tensor) -> Tensor:
    return torch.softmax((scores * 2.0 + attn.bias) / 1.5, -1)


def with_temperature(attn: Attention, scores: Tensor) -> Tensor:
    return (scores * attn.temperature + attn.bias).softmax(-1)


def added_in_place(attn: Attention, scores: Tensor) -> Tensor:
    scores *= attn.temperature
    scores = scores.unsqueeze(0)
    scores += attn.bias
    return scores.softmax(-1).view(-1, HEADS, *scores.shape[-2:])


def in_place(attn: Attention, scores: Tensor) -> Tensor:
    same = scores
    scores += attn.bias
    return (scores + 0.1 * same).softmax(-1)


def view_changed(attn: Attention, scores: Tensor) -> Tensor:
    view = scores.unsqueeze(0)
    view += attn.bias
    return scores.softmax(-1)


def scaled_after_a_bias(attn: Attention, scores: Tensor) -> Tensor:
    return ((scores + attn.bias) * attn.temperature).softmax(-1)


def operand_changed(attn: Attention, scores: Tensor) -> Tensor:
    table = attn.bias * 1
    biased = scores + table
    table.zero_()
    return biased.softmax(-1)


def filled(attn: Attention, scores: Tensor) -> Tensor:
    return scores.masked_fill(attn.bias > 2, -100.0).softmax(3)


def sharpened(attn: Attention, scores: Tensor) -> Tensor:
    map_ = scores.softmax(-1)
    return map_ * (map_.shape[-1] / map_.shape[-1]) if attn.training else map_.square() / map_.square().sum(-1, True)


HELD = [biased, masked, scaled_after, with_temperature, added_in_place]
NOT_HELD = [in_place, view_changed, scaled_after_a_bias, operand_changed, filled, sharpened]


@cache
def _frozen(between: Between, window: int, bits: int, transform: str, unit: str, keys: float, einsum: bool) -> Network:
    torch.manual_seed(0)
    made, x = Network(between, window, keys=keys, einsum=einsum).eval(), torch.rand(1, 3, 2 * window, 2 * window)
    weight = QuantSpec(bits, transform, "per_channel")
    overrides = {} if transform == "none" else {"*.map": {"transform": "hadamard_softmax"}}
    spec = NetworkSpec(weight, QuantSpec(bits, transform, unit), overrides=overrides)
    convert(made, spec, discover(made, [x, torch.rand(1, 3, 2 * window, 2 * window)]))
    calibrate(made, [x])
    freeze(made)
    return made


def frozen(
    between: Between = biased,
    window: int = 8,
    bits: int = 4,
    transform: str = "hadamard_signed",
    unit: str = "per_token",
    keys: float = 1,
    einsum: bool = False,
) -> Network:
    """Return a frozen network of one's own; images of 2 × 2 windows fit it."""
    return copy.deepcopy(_frozen(between, window, bits, transform, unit, keys, einsum))
