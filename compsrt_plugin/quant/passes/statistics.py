"""Second moments of the inputs of linear layers, gathered on calibration patches for GPTQ, conditioning and pruning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.layers import QuantLinear
from compsrt_plugin.quant.modes import evaluating, removed, switched_off
from compsrt_plugin.quant.network import quantized_layers


@dataclass(frozen=True)
class InputStatistics:
    """Second moments of the input of a layer, in the domain of its weight.

    Attributes:
        gram: X^T X, (m, m) float64, X the (count, m) transformed inputs.
        count: number of input vectors.
    """

    gram: Tensor
    count: int

    @property
    def norms(self) -> Tensor:
        """||x_j|| of each coefficient, (m,)."""
        return self.gram.diagonal().clamp_min(0).sqrt()


def gather_statistics(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, InputStatistics]:
    """Run the network in full precision over the batches and return the statistics of each quantized linear layer.

    Args:
        network: a converted network, not frozen.
        batches: inputs of the network, one forward pass each.

    Raises:
        CompSRTError: there is no batch, or no value reached a layer.
    """
    layers = {name: layer for name, layer in quantized_layers(network) if isinstance(layer, QuantLinear)}
    sums: dict[str, tuple[Tensor, int]] = {}

    def watch(name: str, layer: QuantLinear) -> RemovableHandle:
        def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = layer.weight_quantizer.transform(layer.vectors(inputs[0].detach())).flatten(0, -2)
            gram, count = sums.get(name, (0, 0))
            sums[name] = (gram + (x.T @ x).double(), count + len(x))

        return layer.register_forward_pre_hook(add)

    handles = [watch(name, layer) for name, layer in layers.items()]
    with removed(handles), switched_off(network), evaluating(network), torch.no_grad():
        for batch in batches:
            network(batch)
    for name in layers:
        if name not in sums:
            raise CompSRTError(f"no value reached {name} while pruning", hint="give at least one calibration patch")
    return {name: InputStatistics(*sums[name]) for name in layers}
