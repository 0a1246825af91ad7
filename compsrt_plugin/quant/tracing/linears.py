"""Quantization of linear layers that no module computes: `F.linear(x, self.qkv.weight, …)` in foreign code.

A weight that code reads instead of calling its layer becomes that of a `FunctionalLinear`, a quantized layer like any
other. The modules in whose code the call stands become `Reading` ones: within their forward pass a
`TorchFunctionMode` hands every `F.linear` with such a weight to its layer. A weight is known by identity, so that it
does not matter how often or in what order it is read.

    self.qkv = nn.Linear(…)          F.linear(x, self.qkv.weight, b)    the layer stands in place of `qkv`
    self.table = nn.Parameter(…)     F.linear(x, self.table)            it is a child, `table_linear`
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from compsrt_plugin.quant.layers import QuantLinear
from compsrt_plugin.quant.quantized_layer import QuantizedLayer
from compsrt_plugin.quant.quantizer import Quantizer
from compsrt_plugin.quant.spec import NetworkSpec, QuantSpec
from compsrt_plugin.quant.surgery import Made, makes_classes, refuse_replicas
from compsrt_plugin.quant.tracing.identity import refuse_recomputed
from compsrt_plugin.quant.tracing.products import LINEAR, linear_arguments


@dataclasses.dataclass(frozen=True)
class LinearSite:
    """One weight that code reads for `F.linear`.

    Attributes:
        parameter: its dotted name in the full-precision network.
        layer: dotted name of the `FunctionalLinear` that shall hold it.
        readers: of the modules whose own code reads it.
    """

    parameter: str
    layer: str
    readers: tuple[str, ...]

    @property
    def holder(self) -> str:
        """Dotted name of the module whose parameter it is."""
        return self.parameter.rpartition(".")[0]

    @property
    def in_place(self) -> bool:
        """Whether the layer stands where an `nn.Linear` stood."""
        return self.parameter == f"{self.layer}.weight"


class FunctionalLinear(QuantLinear):
    """A linear layer whose weight is read by code around it, which computes it by `F.linear`.

    Once frozen it has no weight, and `weight`, for code to read, is a stand-in of the same shape that takes no memory
    and is all NaN, so that nothing goes on with it unnoticed.

    Args:
        weight: (out_features, in_features), shared, not copied.
        bias: of the layer that stood here; what code around it adds is its own affair.
        weight_spec, input_spec: how weight and input are quantized.
        parameter: name that the weight has in the full-precision network; None if it is this layer's own.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        weight_spec: QuantSpec,
        input_spec: QuantSpec,
        parameter: str | None = None,
    ) -> None:
        QuantizedLayer.__init__(self, weight, bias, weight_spec)
        self.out_features, self.in_features = weight.shape
        self.input_quantizer = Quantizer(input_spec, like=weight)
        self.parameter = parameter

    def forward(self, x: Tensor, *bias: Tensor | None) -> Tensor:
        """Map (..., in_features) to (..., out_features), with this bias (or None), else with the layer's own."""
        with torch._C.DisableTorchFunction():
            return self._linear(x, bias[0] if bias else self.bias)

    def freeze(self) -> None:
        """See `QuantizedLayer.freeze`."""
        super().freeze()
        self._stand_in()

    def prepare_frozen(self, has_offset: bool, has_mask: bool) -> None:
        """See `QuantizedLayer.prepare_frozen`."""
        super().prepare_frozen(has_offset, has_mask)
        self._stand_in()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> FunctionalLinear:
        super()._apply(fn, recurse)
        if self.frozen:
            self._stand_in()  # on the device where the codes are now
        return self

    def _stand_in(self) -> None:
        assert self.weight_codes is not None
        # Not by torch's `__setattr__`, for which `weight` is a parameter that may be None but nothing else.
        self.__dict__["weight"] = self.weight_quantizer.lower.new_full((), math.nan).expand(self.weight_shape)


class Reading(nn.Module):
    """Put before a module's own class: its forward pass with the linear layers that it reads.

    Attributes:
        linears: the layers whose weights its own code reads; a tuple, since they are children of other modules.
    """

    linears: tuple[FunctionalLinear, ...]

    def _replicate_for_data_parallel(self) -> Any:
        raise refuse_replicas(f"{type(self).__name__}, whose code reads weights of other modules")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module's own forward pass."""
        with _Linears(self.linears):
            return super().forward(*args, **kwargs)


class _Linears(TorchFunctionMode):
    """Hands `F.linear` with the weight of one of some layers to that layer."""

    def __init__(self, layers: Sequence[FunctionalLinear]) -> None:
        super().__init__()
        self.layers = layers
        self.grad = torch.is_grad_enabled()

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is LINEAR:
            x, weight, bias = linear_arguments(*args, **kwargs)
            for layer in self.layers:
                if layer.weight is weight:
                    refuse_recomputed("a weight that code reads is multiplied", self.grad)
                    return layer(x, bias)
        return func(*args, **kwargs)


def functional_linear(holder: nn.Module, site: LinearSite, spec: NetworkSpec) -> FunctionalLinear | None:
    """Return the layer for a site, None where an override keeps it; its quantizers are off.

    Args:
        holder: the module whose parameter the weight is.
        site: as `discover` found it.
        spec: of the network.
    """
    weight = spec.resolve("weight", site.layer, f"{site.layer}.weight")
    activation = spec.resolve("activation", site.layer, f"{site.layer}.input")
    if weight is None or activation is None:
        return None
    bias = holder.bias if isinstance(holder, nn.Linear) and site.in_place else None
    parameter = None if site.in_place else site.parameter
    return FunctionalLinear(getattr(holder, _last(site.parameter)), bias, weight, activation, parameter)


def move_weight(holder: nn.Module, site: LinearSite, layer: FunctionalLinear) -> None:
    """Make the layer a child of the module whose parameter its weight was; code finds the weight as before."""
    del holder._parameters[_last(site.parameter)]
    holder.add_module(_last(site.layer), layer)
    bind_weight(holder, site)


def bind_weight(holder: nn.Module, site: LinearSite) -> None:
    """Let a module's code find under the weight's name what is now its child's."""
    holder.__class__ = _showing(type(holder), _last(site.parameter), _last(site.layer))


def bind_reader(reader: nn.Module, layers: Sequence[FunctionalLinear]) -> None:
    """Let a module's own code compute these layers."""
    reader.__dict__["linears"] = tuple(layers)
    reader.__class__ = _reading(type(reader))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


@makes_classes
def _reading(_module_class: type[nn.Module]) -> Made:
    return (Reading,), {}


@makes_classes
def _showing(_module_class: type[nn.Module], parameter: str, child: str) -> Made:
    def weight(module: nn.Module) -> Any:
        return module._modules[child].weight  # type: ignore[union-attr]

    return (), {parameter: property(weight)}
