"""A training run of a second or two: one layer of two blocks, six small images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import torch
import yaml
from torch import nn

import compsrt_plugin  # noqa: F401  (repairs what BasicSR's import needs)
from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR

NETWORK: dict[str, Any] = {"type": "CompSRTSwinIR", "upscale": 4, "depths": [2], "num_heads": [6], "img_size": 16}
SCALE = 4


def plain_teacher() -> CompSRTSwinIR:
    """Build a network that repeats pixels, and adds what its untrained layers make of them."""
    torch.manual_seed(0)
    network = CompSRTSwinIR(**{key: value for key, value in NETWORK.items() if key != "type"})
    first, last = network.conv_first, network.upsample[0]
    assert isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d)
    with torch.no_grad():
        first.weight.mul_(0.1)
        last.weight.mul_(0.05)
        network.conv_after_body.weight.mul_(0.1)
        for colour in range(3):
            first.weight[colour, :, 1, 1] = torch.eye(3)[colour]
            last.weight[colour * SCALE**2 : (colour + 1) * SCALE**2, colour, 1, 1] = 1
    return network.eval()


def write_inputs(folder: Path) -> None:
    """Write `teacher.pth` and six images of 96 x 96 pixels in `HR`."""
    torch.save({"params": plain_teacher().state_dict()}, folder / "teacher.pth")
    (folder / "HR").mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(6):
        coarse = torch.rand(1, 3, 7, 7, generator=generator)
        picture = nn.functional.interpolate(coarse, (96, 96), mode="bicubic").clamp(0, 1)[0]
        cv2.imwrite(str(folder / "HR" / f"p{number}.png"), (picture.permute(1, 2, 0) * 255).round().byte().numpy())


def options(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the option file's content; `changes` by dotted key, `__` for the dot."""
    data = {"type": "CompSRTPairedDataset", "dataroot_gt": str(folder / "HR"), "io_backend": {"type": "disk"}}
    crops = {"gt_size": 64, "use_hflip": True, "use_rot": True, "num_worker_per_gpu": 0, "batch_size_per_gpu": 2}
    found: dict[str, Any] = {
        "name": "tiny",
        "model_type": "CompSRTModel",
        "scale": SCALE,
        "num_gpu": 0,
        "manual_seed": 0,
        "datasets": {
            "train": {"name": "Calibration", "subset": "train", **data, **crops},
            "val": {"name": "Holdout", "subset": "holdout", **data},
        },
        "network_g": dict(NETWORK),
        "quant": {"recipe": "compsrt", "bits": 2, "calibration": {"patches": 2, "patch_size": 16}},
        "path": {"pretrain_network_g": str(folder / "teacher.pth")},
        "train": {
            "total_iter": 6,
            "optim_g": {"type": "Adam", "lr": 0.01, "betas": [0.9, 0.99]},
            "scheduler": {"type": "CosineAnnealingRestartLR"},
        },
        "val": {
            "val_freq": 3,
            "save_img": False,
            "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": True}},
        },
        "logger": {"print_freq": 2, "save_checkpoint_freq": 2, "use_tb_logger": False},
    }
    for key, value in changes.items():
        block = found
        *path, last = key.split("__")
        for name in path:
            block = block.setdefault(name, {})
        block[last] = value
    return found


def write_options(folder: Path, **changes: Any) -> Path:
    """Write the option file and return its path."""
    path = folder / "tiny.yml"
    path.write_text(yaml.safe_dump(options(folder, **changes)))
    return path
