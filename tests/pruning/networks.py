"""A small network to prune, and the patches that calibrate it."""

from __future__ import annotations

import torch
from torch import nn

from compsrt_plugin.quant import NetworkSpec, QuantSpec, convert


def network(bits: int = 3, transform: str = "hadamard", granularity: str = "per_tensor") -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(60, 120), nn.GELU(), nn.Linear(120, 60)).eval()
    weight = QuantSpec(bits, transform=transform, granularity=granularity)
    return convert(layers, NetworkSpec(weight, QuantSpec(bits, transform=transform)))


def patches(count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    scales = torch.rand(60, generator=generator) * 3  # inputs of unequal strength
    return [torch.randn(100, 60, generator=generator) * scales for _ in range(count)]
