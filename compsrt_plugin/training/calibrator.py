"""What is done to a network on calibration patches: conditioning, equalization, pruning, bound search, rounding."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from basicsr.data import build_dataset
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from compsrt_plugin import pruning
from compsrt_plugin.config.schema import CalibrationBlock, GuardBlock, PruneBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import QuantLinear, activation_quantizers, calibrate, named_quantizers, quantized_layers
from compsrt_plugin.quant.passes.conditioning import condition
from compsrt_plugin.quant.passes.equalization import equalize
from compsrt_plugin.quant.passes.gptq import round_compensated
from compsrt_plugin.quant.passes.statistics import gather_statistics
from compsrt_plugin.quant.sensitivity import give_bits, output_errors, raised_bits
from compsrt_plugin.terminal import progress

GUARDED_PATCHES, GUARD_PROJECTIONS = 4, 2
"""Calibration patches that tell which activations stand out, and backward passes for each of them."""


class CalibrationPatches:
    """Low-resolution training patches on which a network is prepared: each call yields the same ones.

    Pictures are taken in turn from a fixed shuffle and cropped by BasicSR's data set at random; both follow
    `manual_seed`, and the random state of the run is left as it was. The data set is built once, at first use.

    Args:
        opt: BasicSR's parsed options with `datasets.train`.
        block: how many patches, and their width and height in low-resolution pixels.
        device: where the patches go.
    """

    def __init__(self, opt: Mapping[str, Any], block: CalibrationBlock, device: torch.device) -> None:
        self.opt, self.block, self.device = opt, block, device

    @cached_property
    def _dataset(self) -> Any:
        dataset_opt = copy.deepcopy(self.opt["datasets"]["train"])
        dataset_opt["gt_size"] = self.block.patch_size * self.opt["scale"]
        return build_dataset(dataset_opt)

    def __call__(self, title: str, most: int | None = None) -> Iterator[Tensor]:
        """Yield patches (1, 3, patch_size, patch_size) in 0..1, the first `most`, with a progress bar of this title."""
        dataset = self._dataset
        state = random.getstate()
        random.seed(self.opt["manual_seed"])
        order = random.sample(range(len(dataset)), len(dataset))
        inner = random.getstate()
        random.setstate(state)
        patches = min(self.block.patches, most or self.block.patches)
        for number in progress(range(patches), desc=title, unit="patches"):
            # The caller runs between two patches; its random state must neither disturb ours nor be disturbed.
            state = random.getstate()
            random.setstate(inner)
            patch = dataset[order[number % len(order)]]["lq"]
            inner = random.getstate()
            random.setstate(state)
            yield patch.unsqueeze(0).to(self.device)


def condition_weights(network: nn.Module, patches: CalibrationPatches, tolerance: float) -> None:
    """Change the weights of all quantized linear layers to ones with lower condition numbers, as `quant.conditioning`.

    Args:
        network: the quantized network, quantizers off.
        patches: on which a layer's outputs are to stay.
        tolerance: by which share of their norm they may move.
    """
    statistics = gather_statistics(network, patches("conditioning"))
    layers = {name: layer for name, layer in quantized_layers(network) if name in statistics}
    shapes: dict[torch.Size, list[str]] = {}
    for name, layer in layers.items():
        shapes.setdefault(layer.weight_matrix().shape, []).append(name)
    found = []
    for (_, columns), names in shapes.items():
        weights = torch.stack([layers[name].weight_matrix().detach() for name in names])
        # Statistics are of the transformed inputs X T; T is orthonormal, so that X^T X = T (X T)^T (X T) T^T.
        unit = torch.eye(columns, dtype=weights.dtype, device=weights.device)
        bases = [layers[name].weight_quantizer.transform(unit).double() for name in names]
        grams = [basis @ statistics[name].gram.to(basis) @ basis.T for name, basis in zip(names, bases)]
        found.append(condition(weights, torch.stack(grams), tolerance))
        with torch.no_grad():
            for name, weight in zip(names, found[-1].weight):
                layers[name].weight_matrix().copy_(weight)
    before, after, change = (torch.cat([getattr(c, key) for c in found]) for key in ("before", "after", "change"))
    get_root_logger().info(
        f"Weights changed: condition numbers of {len(layers)} linear weights lowered, median {before.median():.1f} to "
        f"{after.median():.1f}; outputs on calibration patches moved by at most {change.max():.2%}"
    )


def equalize_inputs(network: Any, patches: CalibrationPatches) -> None:
    """Shift and scale the inputs of linear layers where a norm takes that in, as `quant.equalization`.

    Args:
        network: the quantized network, quantizers off, with its `window_size`.
        patches: that say what channels look like.
    """
    batches = list(patches("equalization"))
    less = network.window_size  # another size; of a network that takes any size, one that it must pad for itself
    side = max(less, patches.block.patch_size - less)
    found = equalize(network, batches, [batches[0], batches[0][..., :side, :side]])
    get_root_logger().info(f"Inputs of linear layers shifted and scaled by {len(found)} norms before them")


def search_bounds(network: nn.Module, patches: CalibrationPatches) -> None:
    """Search the bounds of every quantizer on patches of the train data set, and switch the quantizers on."""
    calibrate(network, patches("bound search"))
    get_root_logger().info(f"Bounds of {sum(1 for _ in named_quantizers(network))} quantizers searched")


def guard_activations(network: nn.Module, patches: CalibrationPatches, guard: GuardBlock) -> dict[str, int]:
    """Give more bits to activations that make too much of the output's error, as `quant.guard`.

    Args:
        network: the quantized network, its bounds searched; those of all quantizers are searched again if any gets
            more bits.
        patches: on which errors are estimated.
        guard: what stands out, and how many bits it may get.

    Returns:
        Name of each activation that got more bits -> its bits, by falling error.
    """
    errors = output_errors(network, patches("guard", GUARDED_PATCHES), GUARD_PROJECTIONS)
    quantizers = activation_quantizers(network)
    raised = raised_bits(errors, {name: q.spec.bits for name, q in quantizers.items()}, guard.times_mean, guard.bits)
    logger, total = get_root_logger(), sum(errors.values())
    for name, bits in raised.items():
        before = quantizers[name].spec.bits
        logger.info(f"Guard: {name} makes {errors[name] / total:.1%} of the output's error: {bits} bits for {before}")
    logger.info(f"Guard: {len(raised)} of {len(quantizers)} activations get more bits")
    if raised:
        give_bits(network, raised)
        search_bounds(network, patches)
    return raised


def round_weights(network: nn.Module, patches: CalibrationPatches) -> None:
    """Round the weights of all quantized linear layers so that errors make up for each other, as `quant.rounding`.

    Args:
        network: the quantized network, its bounds searched.
        patches: whose inputs say which errors count.
    """
    statistics = gather_statistics(network, patches("rounding"))
    changed = total = 0
    for name, layer in quantized_layers(network):
        if isinstance(layer, QuantLinear) and layer.weight_quantizer.spec.codes == "strict":
            round_compensated(layer, statistics[name].gram)
            assert layer.weight_shift is not None
            changed += int(layer.weight_shift.count_nonzero())
            total += layer.weight_shift.numel()
    get_root_logger().info(f"Weights rounded by gptq: {changed / max(total, 1):.1%} have another code than the nearest")


class Pruning:
    """The option file's `prune:` block at work: all at once before bounds are searched, or step by step.

    Args:
        network: the quantized network.
        options: the option file's `prune:`, or None.
        patches: for the hooks that look at a layer's inputs.

    Attributes:
        end: the iteration from which everything is pruned that will be; 0 without a gradual schedule.

    Raises:
        CompSRTError: a gradual schedule without a ratio to grow.
    """

    def __init__(self, network: nn.Module, options: Mapping[str, Any] | None, patches: CalibrationPatches) -> None:
        self.network, self.patches = network, patches
        self.block = None if options is None else PruneBlock.from_dict(options)
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
            batches=self.patches("pruning"),
        )
        mean = sum(shares.values()) / len(shares)
        get_root_logger().info(f"Pruned by {block.hook}: {mean:.1%} of the weights of {len(shares)} linear layers")
