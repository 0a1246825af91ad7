"""Linear layers in foreign code: quantize `F.linear(x, self.qkv.weight, …)`, where no module is called.

The weight moves to a `FunctionalLinear`, a quantized layer like any other. The modules whose code makes the call become
`Reading` ones. Within their forward pass a `TorchFunctionMode` passes each `F.linear` with such a weight to its layer.
Weights are compared by identity, so number and order of the calls do not matter.

    self.qkv = nn.Linear(…)          F.linear(x, self.qkv.weight, b)    the layer replaces `qkv`
    self.table = nn.Parameter(…)     F.linear(x, self.table)            the layer is a child, `table_linear`
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
from compsrt_plugin.quant.surgery import refuse_replicas
from compsrt_plugin.quant.tracing.classes import Derivation, derives_classes
from compsrt_plugin.quant.tracing.identity import refuse_recomputed
from compsrt_plugin.quant.tracing.products import LINEAR, linear_arguments


@dataclasses.dataclass(frozen=True)
class LinearSite:
    """One weight that code passes to `F.linear`.

    Attributes:
        parameter: its dotted name in the full-precision network.
        layer: dotted name of the `FunctionalLinear` that will hold it.
        readers: dotted names of the modules whose own code reads it.
    """

    parameter: str
    layer: str
    readers: tuple[str, ...]

    @property
    def holder(self) -> str:
        """Dotted name of the module that owns the parameter."""
        return self.parameter.rpartition(".")[0]

    @property
    def in_place(self) -> bool:
        """Whether the layer replaces an `nn.Linear`."""
        return self.parameter == f"{self.layer}.weight"


class FunctionalLinear(QuantLinear):
    """A linear layer that enclosing code computes with `F.linear` and the layer's weight.

    A frozen layer has no weight. `weight` is then a placeholder of the same shape for the code to read. It takes no
    memory and is all NaN, so that any other use of it shows.

    Args:
        weight: (out_features, in_features), shared, not copied.
        bias: bias of the replaced layer; a bias added by the caller is not handled here.
        weight_spec, input_spec: specs of weight and input.
        parameter: name of the weight in the full-precision network; None if it is the weight of this layer.
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
        """Map (..., in_features) to (..., out_features) with the given bias (or None), else with that of the layer."""
        with torch._C.DisableTorchFunction():
            return self._linear(x, bias[0] if bias else self.bias)

    def freeze(self) -> None:
        """See `QuantizedLayer.freeze`."""
        super().freeze()
        self._set_placeholder()

    def prepare_frozen(self, has_offset: bool, has_mask: bool) -> None:
        """See `QuantizedLayer.prepare_frozen`."""
        super().prepare_frozen(has_offset, has_mask)
        self._set_placeholder()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> FunctionalLinear:
        super()._apply(fn, recurse)
        if self.frozen:
            self._set_placeholder()  # on the new device of the codes
        return self

    def _set_placeholder(self) -> None:
        assert self.weight_codes is not None
        # Bypass torch's `__setattr__`, which accepts only a parameter or None as `weight`.
        self.__dict__["weight"] = self.weight_quantizer.lower.new_full((), math.nan).expand(self.weight_shape)


class Reading(nn.Module):
    """Base to put before the class of a module: its forward pass with the linear layers whose weights it reads.

    Attributes:
        linears: the layers whose weights its own code reads; a tuple, since they are children of other modules.
    """

    linears: tuple[FunctionalLinear, ...]

    def _replicate_for_data_parallel(self) -> Any:
        raise refuse_replicas(f"{type(self).__name__}, whose code reads weights of other modules")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the forward pass of the module."""
        with _Linears(self.linears):
            return super().forward(*args, **kwargs)


class _Linears(TorchFunctionMode):
    """Pass `F.linear` with the weight of one of the layers to that layer."""

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
    """Return the layer for a site with quantizers off, or None if an override keeps it.

    Args:
        holder: the module that owns the weight.
        site: the weight, from `discover`.
        spec: spec of the network.
    """
    specs = spec.resolve_linear(site.layer)
    if specs is None:
        return None
    bias = holder.bias if isinstance(holder, nn.Linear) and site.in_place else None
    parameter = None if site.in_place else site.parameter
    return FunctionalLinear(getattr(holder, _last(site.parameter)), bias, *specs, parameter)


def move_weight(holder: nn.Module, site: LinearSite, layer: FunctionalLinear) -> None:
    """Make the layer a child of the module that owned its weight; code still finds the weight under its name."""
    del holder._parameters[_last(site.parameter)]
    holder.add_module(_last(site.layer), layer)
    bind_weight(holder, site)


def bind_weight(holder: nn.Module, site: LinearSite) -> None:
    """Make the name of a moved weight return the weight of the child layer."""
    holder.__class__ = _showing(type(holder), _last(site.parameter), _last(site.layer))


def bind_reader(reader: nn.Module, layers: Sequence[FunctionalLinear]) -> None:
    """Make the own code of a module compute these layers."""
    reader.__dict__["linears"] = tuple(layers)
    reader.__class__ = _reading(type(reader))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


@derives_classes
def _reading(_module_class: type[nn.Module]) -> Derivation:
    return (Reading,), {}


@derives_classes
def _showing(_module_class: type[nn.Module], parameter: str, child: str) -> Derivation:
    def weight(module: nn.Module) -> Any:
        return module._modules[child].weight  # type: ignore[union-attr]

    return (), {parameter: property(weight)}
