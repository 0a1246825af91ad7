"""The steps that prepare a quantized network on calibration patches; `calibrator` runs them in order."""

from __future__ import annotations

from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import nn

from compsrt_plugin.config.blocks import GuardBlock
from compsrt_plugin.quant import QuantLinear, activation_quantizers, calibrate, named_quantizers, quantized_layers
from compsrt_plugin.quant.passes.conditioning import condition
from compsrt_plugin.quant.passes.equalization import equalize
from compsrt_plugin.quant.passes.gptq import round_compensated
from compsrt_plugin.quant.passes.statistics import gather_statistics
from compsrt_plugin.quant.sensitivity import give_bits, output_errors, raised_bits
from compsrt_plugin.training.patches import Patches

GUARDED_PATCHES, GUARD_PROJECTIONS = 4, 2
"""Calibration patches on which the guard estimates errors, and backward passes for each of them."""


def condition_weights(network: nn.Module, patches: Patches, tolerance: float) -> None:
    """Lower the condition numbers of all quantized linear weights (`quant.conditioning`).

    Args:
        network: the quantized network, quantizers off.
        patches: inputs on which each layer's outputs are compared.
        tolerance: largest change of those outputs, as a share of their norm.
    """
    statistics = gather_statistics(network, patches("conditioning"))
    layers = {name: layer for name, layer in quantized_layers(network) if name in statistics}
    shapes: dict[torch.Size, list[str]] = {}
    for name, layer in layers.items():
        shapes.setdefault(layer.weight_matrix().shape, []).append(name)
    found = []
    for (_, columns), names in shapes.items():
        weights = torch.stack([layers[name].weight_matrix().detach() for name in names])
        # The statistics are of the transformed inputs X T. T is orthonormal: X^T X = T (X T)^T (X T) T^T.
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


def equalize_inputs(network: Any, patches: Patches) -> None:
    """Shift and scale the inputs of linear layers that follow a norm (`quant.equalization`).

    Each norm absorbs the shift and scale, so that the full-precision network stays the same.

    Args:
        network: the quantized network, quantizers off, with its `window_size`.
        patches: inputs on which the statistics of channels are measured.
    """
    if not _has_linear(network):
        return
    batches = list(patches("equalization"))
    less = network.window_size  # for inputs of another size, which a network that takes any size must pad itself
    side = max(less, patches.block.patch_size - less)
    found = equalize(network, batches, [batches[0], batches[0][..., :side, :side]])
    get_root_logger().info(f"Inputs of linear layers shifted and scaled by {len(found)} norms before them")


def search_bounds(network: nn.Module, patches: Patches) -> None:
    """Search the bounds of every quantizer on calibration patches, and switch the quantizers on."""
    calibrate(network, patches("bound search"))
    get_root_logger().info(f"Bounds of {sum(1 for _ in named_quantizers(network))} quantizers searched")


def guard_activations(network: nn.Module, patches: Patches, guard: GuardBlock) -> dict[str, int]:
    """Give more bits to activations that cause too much of the output's error (`quant.guard`).

    Args:
        network: the quantized network, bounds searched. If any activation gets more bits, all bounds are searched
            again.
        patches: inputs on which errors are estimated.
        guard: the largest error of one activation, and the largest number of bits.

    Returns:
        Name of each activation that got more bits -> its bits, in descending order of error.
    """
    if not activation_quantizers(network):
        return {}
    errors = output_errors(network, patches("guard", GUARDED_PATCHES), GUARD_PROJECTIONS)
    quantizers = activation_quantizers(network)
    raised = raised_bits(errors, {name: q.spec.bits for name, q in quantizers.items()}, guard.times_mean, guard.bits)
    logger, total = get_root_logger(), sum(errors.values())
    for name, bits in raised.items():
        before = quantizers[name].spec.bits
        logger.info(
            f"Guard: {name} causes {errors[name] / total:.1%} of the output's error: {bits} bits instead of {before}"
        )
    logger.info(f"Guard: {len(raised)} of {len(quantizers)} activations get more bits")
    if raised:
        give_bits(network, raised)
        search_bounds(network, patches)
    return raised


def round_weights(network: nn.Module, patches: Patches) -> None:
    """Round the weights of all quantized linear layers by GPTQ (`quant.rounding`).

    Args:
        network: the quantized network, bounds searched.
        patches: inputs from which the Gram matrix of each layer is computed.
    """
    if not _has_linear(network):
        return
    statistics = gather_statistics(network, patches("rounding"))
    changed = total = 0
    for name, layer in quantized_layers(network):
        if isinstance(layer, QuantLinear) and layer.weight_quantizer.spec.codes == "strict":
            round_compensated(layer, statistics[name].gram)
            assert layer.weight_shift is not None
            changed += int(layer.weight_shift.count_nonzero())
            total += layer.weight_shift.numel()
    get_root_logger().info(f"Weights rounded by gptq: {changed / max(total, 1):.1%} have another code than the nearest")


def _has_linear(network: nn.Module) -> bool:
    """Return whether any linear layer is quantized; a network of convolutions alone has none."""
    return any(isinstance(layer, QuantLinear) for _, layer in quantized_layers(network))
