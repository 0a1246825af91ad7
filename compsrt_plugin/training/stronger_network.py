"""The stronger network that a teacher learns from: loading, and enlarging whole images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from basicsr.utils import get_root_logger
from torch import Tensor

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.networks import weights_entry
from compsrt_plugin.terminal import progress

if TYPE_CHECKING:
    from compsrt_plugin.zoo.spandrel_files import SpandrelFile

KEY = "path.pretrain_network_teacher"
PIXELS = 2**17  # low-resolution pixels in one batch; a larger image is a batch of its own
ORIENTATIONS = [(turns, flipped) for turns in range(4) for flipped in (False, True)]


def read_stronger(source: str, opt: Mapping[str, Any]) -> SpandrelFile:
    """Load the network, in eval mode and without gradients, on the CPU.

    Args:
        source: a weight file that spandrel reads.
        opt: of the run; the network must fit `scale` and `datasets.train.gt_size`. `path.param_key_g` names the entry
            of the file.

    Raises:
        CompSRTError: the file cannot be used, or the network has another scale or cannot take the patches.
    """
    from compsrt_plugin.zoo.spandrel_files import read

    found, scale = read(source, weights_entry(opt)), opt["scale"]
    if found.scale != scale:
        raise CompSRTError(f"{KEY} is a x{found.scale} network", allowed=f"x{scale}, as `scale` says")
    side = opt["datasets"]["train"]["gt_size"] // scale
    wanted, _ = found.size.fit(side, side)
    if not opt["train"].get("teacher_once") and wanted != side:
        multiple, least = found.size.multiple_of, found.size.minimum
        raise CompSRTError(
            f"{KEY} takes multiples of {multiple} pixels from {least} on, patches have {side}",
            hint=f"set datasets.train.gt_size: {wanted * scale}",
        )
    get_root_logger().info(f"Learning from {found.block['class']} in {source}")
    found.network.eval().requires_grad_(False)
    return found


def enlarge_images(stronger: SpandrelFile, images: Sequence[np.ndarray], device: torch.device) -> list[np.ndarray]:
    """Enlarge each image in its eight orientations and return the means (EDSR's self-ensemble).

    A whole image has fewer border pixels than its patches, and the mean of eight outputs is better than one output.
    Both would cost too much in every iteration.

    Args:
        stronger: as `read_stronger` returns it.
        images: uint8 (h, w, 3), BGR.
        device: device to compute on.

    Returns:
        uint8 (h * scale, w * scale, 3), BGR, in the same order.
    """
    network, made = stronger.network.to(device), [np.empty(0, np.uint8)] * len(images)
    with progress(total=len(images), desc="stronger network", unit="images", leave=False) as bar, torch.no_grad():
        for chunk in _of_one_size(images):
            batch = torch.from_numpy(np.stack([images[index] for index in chunk])).to(device)
            lq = batch.flip(-1).permute(0, 3, 1, 2).float() / 255
            total = torch.zeros((), dtype=lq.dtype, device=device)
            for turns, flipped in ORIENTATIONS:
                total = total + _in_orientation(stronger, network, lq, turns, flipped)
            mean = (total / len(ORIENTATIONS) * 255).round().clamp(0, 255).to(torch.uint8)
            for index, image in zip(chunk, mean.permute(0, 2, 3, 1).flip(-1).cpu().numpy()):
                made[index] = np.ascontiguousarray(image)
            bar.update(len(chunk))
    return made


def _in_orientation(stronger: SpandrelFile, network: torch.nn.Module, lq: Tensor, turns: int, flipped: bool) -> Tensor:
    turned = torch.rot90(lq.flip(-1) if flipped else lq, turns, (2, 3))
    height, width = (side * stronger.scale for side in turned.shape[2:])
    output = network(stronger.size.pad(turned))[:, :, :height, :width]
    back = torch.rot90(output, -turns, (2, 3))
    return back.flip(-1) if flipped else back


def _of_one_size(images: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Yield the indices of images that are run as one batch."""
    by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_size[image.shape].append(index)
    for (height, width, *_), indices in by_size.items():
        count = max(1, PIXELS // (height * width))
        for start in range(0, len(indices), count):
            yield indices[start : start + count]
