"""What is done to a network on calibration patches: pruning, and the search of its bounds."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import torch
from basicsr.data import build_dataset
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from tqdm import tqdm

from compsrt_plugin import pruning
from compsrt_plugin.config.schema import CalibrationBlock, PruneBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import calibrate, named_quantizers


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


def search_bounds(network: nn.Module, opt: dict[str, Any], block: CalibrationBlock, device: torch.device) -> None:
    """Search the bounds of every quantizer on patches of the train data set, and switch the quantizers on."""
    calibrate(network, calibration_batches(opt, block.patches, block.patch_size, device))
    get_root_logger().info(f"Bounds of {sum(1 for _ in named_quantizers(network))} quantizers searched")


class Pruning:
    """The option file's `prune:` block at work: all at once before bounds are searched, or step by step.

    Args:
        network: the quantized network.
        opt: BasicSR's parsed options.
        calibration: patches for the hooks that look at a layer's inputs.
        device: where the patches go.

    Attributes:
        end: the iteration from which everything is pruned that will be; 0 without a gradual schedule.

    Raises:
        CompSRTError: a gradual schedule without a ratio to grow.
    """

    def __init__(
        self, network: nn.Module, opt: dict[str, Any], calibration: CalibrationBlock, device: torch.device
    ) -> None:
        self.network, self.opt, self.calibration, self.device = network, opt, calibration, device
        self.block = None if opt.get("prune") is None else PruneBlock.from_dict(opt["prune"])
        block = self.block or PruneBlock()
        self.schedule = pruning.Schedule(block.start, block.end, block.every, block.curve)
        self.end = block.end
        if block.end and block.ratio is None:
            raise CompSRTError(f"prune.end is {block.end}, but there is no prune.ratio to grow", hint="give both")

    def at(self, iteration: int) -> None:
        """Draw the masks anew if the share to prune changes at this iteration; 0 is before the bound search."""
        block = self.block
        if block is None or (iteration > 0 and not self.schedule.is_step(iteration)):
            return
        shares = pruning.prune(
            self.network,
            block.hook,
            None if block.ratio is None else self.schedule.ratio(iteration, block.ratio),
            {pattern: self.schedule.ratio(iteration, ratio) for pattern, ratio in block.layers.items()},
            scope=block.scope,
            options=block.options,
            compensate=block.compensate,
            batches=calibration_batches(self.opt, self.calibration.patches, self.calibration.patch_size, self.device),
        )
        mean = sum(shares.values()) / len(shares)
        get_root_logger().info(f"Pruned by {block.hook}: {mean:.1%} of the weights of {len(shares)} linear layers")
