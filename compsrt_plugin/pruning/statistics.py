"""What a pruning hook may know of a layer's input, gathered while calibration patches run through the network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import Mode, QuantLinear, named_quantizers, quantized_layers, set_mode
from compsrt_plugin.quant.surgery import evaluating


@dataclass(frozen=True)
class InputStatistics:
    """Second moments of a layer's input in the domain of its weight.

    Attributes:
        gram: X^T X, (m, m) float64, X the (count, m) transformed inputs.
        count: how many input vectors were seen.
    """

    gram: Tensor
    count: int

    @property
    def norms(self) -> Tensor:
        """||x_j|| of every coefficient, (m,)."""
        return self.gram.diagonal().clamp_min(0).sqrt()


def gather_statistics(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, InputStatistics]:
    """Run the full-precision network over the batches and return every quantized linear layer's statistics.

    Args:
        network: a converted network, not frozen.
        batches: inputs of the network, one forward pass each.

    Raises:
        CompSRTError: there is no batch, or no value reached a layer.
    """
    layers = {name: layer for name, layer in quantized_layers(network) if isinstance(layer, QuantLinear)}
    sums: dict[str, tuple[Tensor, int]] = {}

    def watch(name: str, layer: QuantLinear):
        def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = layer.weight_quantizer.transform(layer.vectors(inputs[0].detach())).flatten(0, -2)
            gram, count = sums.get(name, (0, 0))
            sums[name] = (gram + (x.T @ x).double(), count + len(x))

        return layer.register_forward_pre_hook(add)

    modes = [(quantizer, quantizer.mode) for _, quantizer in named_quantizers(network)]
    handles = [watch(name, layer) for name, layer in layers.items()]
    try:
        set_mode(network, Mode.OFF)
        with evaluating(network), torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for handle in handles:
            handle.remove()
        for quantizer, mode in modes:
            quantizer.mode = mode
    for name in layers:
        if name not in sums:
            raise CompSRTError(f"no value reached {name} while pruning", hint="give at least one calibration patch")
    return {name: InputStatistics(*sums[name]) for name in layers}
