"""Small frozen networks whose every part matters to the output, and how near the engine must come to them."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import torch
from torch import Tensor

import compsrt_plugin

compsrt_plugin.register()

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR  # noqa: E402
from compsrt_plugin.config.recipes import resolve  # noqa: E402
from compsrt_plugin.pruning import prune  # noqa: E402
from compsrt_plugin.quant import calibrate, freeze, quantized_layers  # noqa: E402

ARCH: dict[str, Any] = {"depths": [2], "num_heads": [2], "embed_dim": 12, "img_size": 16, "upscale": 2}


def picture(height: int = 16, width: int = 16, batch: int = 1, seed: int = 1) -> Tensor:
    """Return noise that is not all alike: (batch, 3, height, width)."""
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def network(**options: Any) -> CompSRTSwinIR:
    """Return a frozen network, a copy of one's own.

    Args:
        bits, recipe and more: the `quant:` block.
        pruning: arguments of `prune`.
        arch: what differs from `ARCH`.
    """
    return copy.deepcopy(_network(json.dumps(options, sort_keys=True)))


@cache  # calibration takes longer than all the rest, and every level asks for the same networks
def _network(options: str) -> CompSRTSwinIR:
    quant = {"bits": 4, "recipe": "compsrt", **json.loads(options)}
    arch, pruning = {**ARCH, **quant.pop("arch", {})}, quant.pop("pruning", None)
    torch.manual_seed(0)
    made = CompSRTSwinIR(**arch).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("relative_position_bias_table"):
                parameter.normal_(0, 1)
            elif "norm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.2)
            elif "layers" in name and parameter.ndim == 2:
                parameter.normal_(0, parameter.shape[1] ** -0.5)
    made.quantize(resolve(quant, pruned=pruning is not None).spec)
    batches = [picture_for(arch, seed=2)]
    if pruning is not None:
        prune(made, batches=batches, **pruning)
    calibrate(made, batches)
    freeze(made)
    return made


def picture_for(arch: dict[str, Any], seed: int = 1) -> Tensor:
    """Return a picture of at least 2 × 2 windows and 14 × 14 pixels."""
    window = arch.get("window_size", 8)
    side = window * max(2, -(-14 // window))
    return picture(side, side, seed=seed)[:, : arch.get("in_chans", 3)]


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Return the root mean square difference, as a share of the output's spread.

    It is 3e-7 while all codes are the same. A code that falls on the other side of a rounding boundary, as they do in
    PyTorch itself when it adds in another order, makes it about 7e-4; a wrong computation 1e-2 and more.
    """
    assert ours.shape == theirs.shape
    return ((ours - theirs).square().mean().sqrt() / theirs.std()).item()


def in_double(made: CompSRTSwinIR, x: Tensor) -> Tensor:
    """Return the simulated network's output, computed in float64."""
    made = copy.deepcopy(made)
    for _, layer in quantized_layers(made):
        layer._decoded = None
    with torch.no_grad():
        return made.double()(x.double()).float()
