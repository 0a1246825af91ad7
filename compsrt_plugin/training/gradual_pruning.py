"""Pruning during calibration, as the option file's `prune:` block asks for."""

from __future__ import annotations

from basicsr.utils import get_root_logger
from torch import nn

from compsrt_plugin import pruning
from compsrt_plugin.config.blocks import PruneBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.passes.registry import Patches


class GradualPruning:
    """Prune a network at once, before bounds are searched, or in steps between iterations.

    Args:
        network: the quantized network.
        block: what is pruned; None prunes nothing.
        patches: for hooks that look at a layer's inputs.

    Attributes:
        end: the first iteration with the final masks; 0 without a gradual schedule.

    Raises:
        CompSRTError: a gradual schedule without a ratio.
    """

    def __init__(self, network: nn.Module, block: PruneBlock | None, patches: Patches) -> None:
        self.network, self.block, self.patches = network, block, patches
        block = block or PruneBlock()
        self.schedule = pruning.Schedule(block.start, block.end, block.every, block.curve)
        self.end = block.end
        if block.end and block.ratio is None:
            raise CompSRTError(f"prune.end is {block.end}, but there is no prune.ratio to grow", hint="give both")

    def step(self, iteration: int) -> None:
        """Compute new masks if the schedule has a step at this iteration; 0 is before the bound search."""
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
            batches=self.patches("pruning"),
        )
        mean = sum(shares.values()) / len(shares)
        get_root_logger().info(f"Pruned by {block.hook}: {mean:.1%} of the weights of {len(shares)} linear layers")
