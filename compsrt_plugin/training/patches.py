"""Calibration patches: the low-resolution training patches on which a network is prepared."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from basicsr.data import build_dataset
from torch import Tensor

from compsrt_plugin.config.blocks import CalibrationBlock
from compsrt_plugin.terminal import progress


class CalibrationPatches:
    """Yield low-resolution training patches, the same ones at every call.

    Images are taken in turn from a fixed shuffle, and BasicSR's data set crops them at random. Both follow
    `manual_seed`. The random state of the run is left as it was. The data set is built once, at first use.

    Args:
        opt: BasicSR's parsed options with `datasets.train`.
        block: number of patches, and their width and height in low-resolution pixels.
        device: device of the patches.
    """

    def __init__(self, opt: Mapping[str, Any], block: CalibrationBlock, device: torch.device) -> None:
        self.opt, self.block, self.device = opt, block, device

    @cached_property
    def _dataset(self) -> Any:
        dataset_opt = copy.deepcopy(self.opt["datasets"]["train"])
        dataset_opt["gt_size"] = self.block.patch_size * self.opt["scale"]
        return build_dataset(dataset_opt)

    def __call__(self, title: str, limit: int | None = None) -> Iterator[Tensor]:
        """Yield patches; see `quant.passes.registry.Patches`."""
        dataset = self._dataset
        state = random.getstate()
        random.seed(self.opt["manual_seed"])
        order = random.sample(range(len(dataset)), len(dataset))
        inner = random.getstate()
        random.setstate(state)
        patches = min(self.block.patches, limit or self.block.patches)
        for number in progress(range(patches), desc=title, unit="patches"):
            # The caller runs between two patches: neither random state may disturb the other.
            state = random.getstate()
            random.setstate(inner)
            patch = dataset[order[number % len(order)]]["lq"]
            inner = random.getstate()
            random.setstate(state)
            yield patch.unsqueeze(0).to(self.device)
