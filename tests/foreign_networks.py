"""Foreign networks, real classes at small widths, as weight files and as option blocks."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

import compsrt_plugin

SPANDREL: dict[str, dict[str, Any]] = {
    "HAT": {"embed_dim": 24, "depths": (2,), "num_heads": (2,), "window_size": 8, "compress_ratio": 6,
            "squeeze_factor": 4, "mlp_ratio": 2.0, "upscale": 4},
    "DAT": {"embed_dim": 24, "depth": [2], "num_heads": [2], "expansion_factor": 2.0, "split_size": [8, 8],
            "upscale": 4, "upsampler": "pixelshuffledirect"},
    "SRFormer": {"embed_dim": 24, "depths": (2,), "num_heads": (2,), "window_size": 16, "mlp_ratio": 2.0, "upscale": 4,
                 "upsampler": "pixelshuffledirect"},
    "Swin2SR": {"embed_dim": 24, "depths": [2], "num_heads": [2], "window_size": 8, "mlp_ratio": 2.0, "upscale": 4,
                "upsampler": "pixelshuffledirect"},
    "DRCT": {"embed_dim": 24, "depths": (6,), "num_heads": (2,), "window_size": 8, "upscale": 4, "gc": 8,
             "upsampler": "pixelshuffle"},
    "OmniSR": {"num_feat": 16, "res_num": 1, "block_num": 1, "up_scale": 4},
    "ATD": {"embed_dim": 24, "depths": (2,), "num_heads": (2,), "window_size": 8, "category_size": 64, "num_tokens": 16,
            "reducted_dim": 4, "upscale": 4, "upsampler": "pixelshuffledirect"},
    "RGT": {"embed_dim": 24, "depth": [2], "num_heads": [2], "mlp_ratio": 2.0, "upscale": 4},
    "CRAFT": {"embed_dim": 24, "depths": [1], "num_heads": [6], "upscale": 4},
    "FDAT": {"embed_dim": 24, "num_groups": 1, "depth_per_group": 2, "num_heads": 2, "scale": 4, "mid_dim": 16,
             "aim_reduction_ratio": 4, "upsampler_type": "pixelshuffledirect"},
}  # fmt: skip
EXTRA = ("SRFormer",)
BASICSR: dict[str, dict[str, Any]] = {
    "SwinIR": {"upscale": 4, "img_size": 16, "window_size": 8, "img_range": 1.0, "depths": [2], "embed_dim": 24,
               "num_heads": [2], "mlp_ratio": 2, "upsampler": "pixelshuffle", "resi_connection": "1conv"},
    "EDSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 1, "upscale": 4},
    "ReadsWeights": {"width": 16, "upscale": 4},
    "MambaIRv2Light": {"embed_dim": 24, "depths": [2], "num_heads": [2], "window_size": 8, "num_tokens": 16,
                       "inner_rank": 8, "upscale": 4},
    "RCAN": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_group": 1, "num_block": 2, "squeeze_factor": 4,
             "upscale": 4},
}  # fmt: skip


def spandrel_class(name: str) -> type[nn.Module]:
    """Return a class of spandrel; the test is skipped where it is missing."""
    compsrt_plugin.register()  # repairs what spandrel's import of torchvision needs
    package = "spandrel_extra_arches" if name in EXTRA else "spandrel"
    pytest.importorskip(package)
    return getattr(importlib.import_module(f"{package}.architectures.{name}"), name)


@ARCH_REGISTRY.register()
class ReadsWeights(nn.Module):
    """Linear layers that no module computes: their weights are the network's own."""

    def __init__(self, width: int, upscale: int) -> None:
        super().__init__()
        self.upscale = upscale
        self.first, self.mix = nn.Conv2d(3, width, 3, padding=1), nn.Linear(width, 2 * width)
        self.back = nn.Parameter(torch.randn(width, 2 * width) / width)
        self.last = nn.Conv2d(width, 3 * upscale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).movedim(1, -1)
        y = y + F.linear(F.gelu(F.linear(y, self.mix.weight, self.mix.bias)), self.back)
        return F.pixel_shuffle(self.last(y.movedim(-1, 1)), self.upscale)


@functools.cache
def foreign_network(name: str) -> nn.Module:
    """Return a small network with weights that make something of their input."""
    torch.manual_seed(0)
    return spandrel_class(name)(**SPANDREL[name]).eval()


def weight_file(name: str, folder: Path) -> Path:
    """Write a spandrel network's weights as its authors would."""
    path = folder / f"{name}.pth"
    torch.save({"params": foreign_network(name).state_dict()}, path)
    return path


def block_for(name: str, folder: Path) -> dict[str, Any]:
    """Return the `network_g` block for a network by its name in the tables above."""
    if name in BASICSR:
        return {"type": "CompSRTNet", "base": {"type": name, **BASICSR[name]}}
    return {"type": "CompSRTNet", "base": {"file": str(weight_file(name, folder))}}
