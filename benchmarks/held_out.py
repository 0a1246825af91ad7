"""Load patches of BSD400, or of any folder of HR images: training patches for statistics, held-out ones to judge.

The held-out tenth is that of `subset: holdout` in the data set class. Nothing is chosen on a test set.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.data.paired_dataset import CompSRTPairedDataset
from compsrt_plugin.packed import load_weights
from compsrt_plugin.packed.bundled import teacher_path

SCALE = 4


def teacher() -> CompSRTSwinIR:
    """Return the bundled full-precision x4 network."""
    network = CompSRTSwinIR(upscale=SCALE).eval()
    network.load_state_dict(load_weights(teacher_path(SCALE)))
    return network


def patches(folder: Path, subset: str, count: int, side: int = 64) -> list[tuple[Tensor, Tensor]]:
    """Return the centres of `count` images, evenly spread over the subset sorted by name.

    Args:
        folder: of HR images.
        subset: `train` or `holdout`.
        count: how many.
        side: LR pixels.

    Returns:
        (lq, gt) pairs, (1, 3, side, side) and (1, 3, 4 side, 4 side) in 0..1.
    """
    options = {"name": "Pictures", "phase": "val", "scale": SCALE, "dataroot_gt": str(folder), "subset": subset}
    images = CompSRTPairedDataset(options)
    found = []
    for number in range(count):
        pair = images[number * len(images) // count]
        top, left = ((size - side) // 2 for size in pair["lq"].shape[1:])
        lq = pair["lq"][:, top : top + side, left : left + side]
        gt = pair["gt"][:, SCALE * top : SCALE * (top + side), SCALE * left : SCALE * (left + side)]
        found.append((lq[None], gt[None]))
    return found


def psnr(one: Tensor, other: Tensor) -> float:
    """Return the PSNR in dB of two images in 0..1, RGB, without the outermost `SCALE` pixels, not rounded."""
    error = (one.clamp(0, 1) - other.clamp(0, 1))[..., SCALE:-SCALE, SCALE:-SCALE]
    return -10 * math.log10(error.double().square().mean().clamp_min(1e-12).item())


def judge(network: nn.Module, pairs: list[tuple[Tensor, Tensor]], reference: list[Tensor] | None) -> dict[str, float]:
    """Return the mean PSNR in dB over the patches to the ground truth, and to the reference's outputs."""
    with torch.no_grad():
        outputs = [network(lq) for lq, _ in pairs]
    found = {"gt": sum(psnr(out, gt) for out, (_, gt) in zip(outputs, pairs)) / len(pairs)}
    if reference is not None:
        found["teacher"] = sum(psnr(out, other) for out, other in zip(outputs, reference)) / len(pairs)
    return found
