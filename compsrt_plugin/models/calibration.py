"""Calibration patches, drawn from the option file's train data set."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import torch
from basicsr.data import build_dataset
from torch import Tensor
from tqdm import tqdm


def calibration_batches(opt: dict[str, Any], patches: int, patch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Yield low-resolution patches (1, 3, patch_size, patch_size) in 0..1, with a progress bar.

    Pictures are taken in turn from a fixed shuffle and cropped by BasicSR's data set at random; both follow
    `manual_seed`, and the random state of the run is left as it was.

    Args:
        opt: BasicSR's parsed options with `datasets.train`.
        patches: how many.
        patch_size: width and height in low-resolution pixels.
        device: where the patches go.
    """
    dataset_opt = copy.deepcopy(opt["datasets"]["train"])
    dataset_opt["gt_size"] = patch_size * opt["scale"]
    dataset = build_dataset(dataset_opt)
    state = random.getstate()
    random.seed(opt["manual_seed"])
    order = random.sample(range(len(dataset)), len(dataset))
    inner = random.getstate()
    random.setstate(state)
    for number in tqdm(range(patches), desc="bound search", unit="patch"):
        # The caller runs between two patches; its random state must neither disturb ours nor be disturbed.
        state = random.getstate()
        random.setstate(inner)
        patch = dataset[order[number % len(order)]]["lq"]
        inner = random.getstate()
        random.setstate(state)
        yield patch.unsqueeze(0).to(device)
