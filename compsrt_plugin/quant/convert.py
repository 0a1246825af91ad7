"""`convert`: replace the layers of any network by quantized ones, according to rules.

A rule is an adapter: a function (module, name, spec) -> replacement, registered for a module class. This file has the
adapters of Linear and Conv2d; an arch registers one for its own attention class. A module whose class has no adapter
stays, and its children are visited. For a network without adapters of its own, `discover` finds the products in its
code and the layers that should stay in full precision (`quant.tracing`).
"""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from torch import Tensor, nn

from compsrt_plugin.devices import example
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.quant.computed_weights import fold_computed, has_computed_weight, plain_type
from compsrt_plugin.quant.layers import QuantConv2d, QuantLinear, QuantPointwise
from compsrt_plugin.quant.network import named_quantizers
from compsrt_plugin.quant.spec import NetworkSpec
from compsrt_plugin.quant.surgery import (
    disable_fast_path,
    refuse_converted,
    replace_in_attributes,
    take_over_hooks,
    undo_on_error,
)
from compsrt_plugin.quant.tracing.discovery import Discovery
from compsrt_plugin.quant.tracing.interception import intercept
from compsrt_plugin.quant.tracing.linears import FunctionalLinear, bind_reader, functional_linear, move_weight

Adapter = Callable[[nn.Module, str, NetworkSpec], "nn.Module | None"]
ADAPTERS: dict[type[nn.Module], Adapter] = {}

NARROW = 8  # a 1x1 convolution with fewer input channels reads images, not features


def register_adapter(module_class: type[nn.Module]) -> Callable[[Adapter], Adapter]:
    """Return a decorator that registers a function as the rule for `module_class` (exact class, not subclasses).

    The adapter gets the module, its dotted name and the spec of the network. It returns the quantized module, or None
    to leave the module unchanged. Registering a class again replaces its rule.
    """

    def register(adapter: Adapter) -> Adapter:
        ADAPTERS[module_class] = adapter
        return adapter

    return register


@register_adapter(nn.Linear)
def quantize_linear(module: nn.Module, name: str, spec: NetworkSpec) -> QuantLinear | None:
    """Return the quantized linear layer (weight and input), or None if an override keeps either."""
    assert isinstance(module, nn.Linear)
    specs = spec.resolve_linear(name)
    return None if specs is None or has_computed_weight(module, name) else QuantLinear(module, *specs)


@register_adapter(nn.Conv2d)
def quantize_conv(module: nn.Module, name: str, spec: NetworkSpec) -> QuantConv2d | None:
    """Return the quantized convolution (weight, and input if the spec says so); None without zero padding."""
    assert isinstance(module, nn.Conv2d)
    weight = spec.resolve("conv", name, f"{name}.weight")
    if weight is None or module.padding_mode != "zeros" or has_computed_weight(module, name):
        return None
    return QuantConv2d(module, weight, spec.resolve("conv_input", name, f"{name}.input"))


def quantize_pointwise(module: nn.Conv2d, name: str, spec: NetworkSpec) -> QuantPointwise | None:
    """Return a 1x1 convolution of a foreign network as a quantized linear layer, or None if an override keeps it."""
    specs = spec.resolve_linear(name)
    return None if specs is None or has_computed_weight(module, name) else QuantPointwise(module, *specs)


def convert(
    network: nn.Module, spec: NetworkSpec, found: Discovery | None = None, may_miss: Collection[str] = ()
) -> nn.Module:
    """Replace the layers of `network` in place by quantized ones; their quantizers are off.

    A module that is used at several places, or is in a plain list, gets one replacement with the name of its first
    place. A weight that is computed from other tensors is folded first, see `computed_weights`.

    Args:
        network: any module; the new layers share its parameters, so loaded values stay.
        spec: spec of each quantizer.
        found: result of `discover` for this network. Products in its code are then quantized too, 1x1 convolutions
            become linear layers, and layers in `found.keep` stay in full precision unless an override names them.
            None: use the registered rules only.
        may_miss: patterns of overrides that need not match.

    Returns:
        The network (a new module only if `network` itself is replaced).

    Raises:
        CompSRTError: the network is converted already, the pattern of an override matches nothing, or nothing can be
            quantized. The network is unchanged then.

    >>> import torch
    >>> from torch import nn
    >>> from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, distinct_codes
    >>> _ = torch.manual_seed(0)
    >>> network = nn.Sequential(nn.Linear(60, 120), nn.GELU(), nn.Linear(120, 60))
    >>> spec = NetworkSpec(weight=QuantSpec(bits=3), activation=QuantSpec(bits=3))
    >>> network = convert(network, spec)
    >>> batches = [torch.randn(64, 60) for _ in range(4)]
    >>> calibrate(network, batches)
    >>> network(batches[0]).shape
    torch.Size([64, 60])
    >>> max(distinct_codes(network, batches).values()) <= 2**3
    True
    """
    refuse_converted(network)
    spec.matched.clear()
    with undo_on_error(network):
        return _converted(network, spec, found, may_miss)


def _converted(network: nn.Module, spec: NetworkSpec, found: Discovery | None, may_miss: Collection[str]) -> nn.Module:
    fold_computed(network)
    before = dict(network.named_modules())
    places = [name for name, _ in network.named_modules(remove_duplicate=False)]
    done: dict[nn.Module, nn.Module] = {}
    network = _convert(network, "", spec, found, done)
    replace_in_attributes(network, {old: new for old, new in done.items() if new is not old})
    if found is not None:
        after = dict(network.named_modules())
        own_code = {name: module for name, module in after.items() if before.get(name) is module}  # no adapter's
        for name, sites in found.sites.items():
            if name in own_code:
                intercept(own_code[name], name, sites, spec, _example_near(network, name))
        _convert_weights(after, own_code, spec, found)
    for pattern in spec.overrides:
        if pattern not in spec.matched and pattern not in may_miss:
            raise _matches_nothing(pattern, network, [name for name in places if name not in before])
    quantizers = dict(named_quantizers(network))
    if not quantizers:
        raise CompSRTError(
            f"{type(network).__name__} has no layer that the rules quantize",
            hint="conv_bits: 8 quantizes convolutions" if spec.conv_bits is None else None,
        )
    for name in spec.raised:
        if name not in quantizers:
            raise unknown_name("quantizer in raised:", name, quantizers)
    for name, quantizer in quantizers.items():
        quantizer.name = name
    disable_fast_path(network)
    return network


def _matches_nothing(pattern: str, network: nn.Module, others: Collection[str]) -> CompSRTError:
    """Return the error for an override without a match; `others` are second names of shared modules."""
    tensors = ("", ".weight", ".input")
    second = next((name for name in others if any(fnmatch.fnmatchcase(name + of, pattern) for of in tensors)), None)
    if second is not None:
        first = _first_name(network, second)
        return CompSRTError(
            f"override {pattern!r} names {second}, which is the same module as {first}",
            hint=f"one module has one spec: name {first}",
        )
    return CompSRTError(
        f"override {pattern!r} matches no layer of {type(network).__name__}",
        hint="list the names with: for name, _ in named_quantizers(network)",
    )


def _first_name(network: nn.Module, name: str) -> str:
    module = network.get_submodule(name)
    return next(first for first, other in network.named_modules() if other is module)


def _convert(
    module: nn.Module, name: str, spec: NetworkSpec, found: Discovery | None, done: dict[nn.Module, nn.Module]
) -> nn.Module:
    """Return the replacement of a module, or the module itself; `done` caches it for modules used at several places."""
    if module not in done:
        replacement = _replacement(module, name, spec, found)
        done[module] = module if replacement is None else replacement
        if replacement is None and not _kept(name, spec, found):
            for child_name, child in list(module._modules.items()):
                new = child and _convert(child, f"{name}.{child_name}".lstrip("."), spec, found, done)
                if new is not child:
                    setattr(module, child_name, new)
    return done[module]


def _kept(name: str, spec: NetworkSpec, found: Discovery | None) -> bool:
    return found is not None and name in found.keep and not spec.names(name)


def _replacement(module: nn.Module, name: str, spec: NetworkSpec, found: Discovery | None) -> nn.Module | None:
    """Return the quantized form of a module, or None if it stays unchanged."""
    if _kept(name, spec, found):
        return None
    module_class = plain_type(module)
    adapter = ADAPTERS.get(module_class)
    in_trunk = found is not None and name in found.trunk and spec.trunk_pointwise == "conv"
    if found is not None and name in found.linears:
        replacement = functional_linear(module, found.linears[name], spec)
    elif found is not None and isinstance(module, nn.Conv2d) and _is_pointwise(module) and not in_trunk:
        replacement = quantize_pointwise(module, name, spec)
    else:
        replacement = adapter(module, name, spec) if adapter else None
    if replacement is not None:
        take_over_hooks(replacement, module)
        replacement.train(module.training)
    return replacement


def _example_near(network: nn.Module, name: str) -> Tensor | None:
    """Return a tensor of a module or of the nearest enclosing module that has one, see `devices.example`."""
    while True:
        found = example(network.get_submodule(name))
        if found is not None or not name:
            return found
        name = name.rpartition(".")[0]


def _convert_weights(
    modules: Mapping[str, nn.Module], own_code: Mapping[str, nn.Module], spec: NetworkSpec, found: Discovery
) -> None:
    """Quantize the weights that code passes to `F.linear`, and bind the modules that read them.

    Args:
        modules: all modules by name, after layers were replaced.
        own_code: those of them that were not replaced.
        spec, found: see `convert`.
    """
    read: dict[str, list[FunctionalLinear]] = defaultdict(list)
    for site in found.linears.values():
        layer = modules.get(site.layer)
        holder = own_code.get(site.holder)
        if holder is not None and not site.in_place and (site.layer not in found.keep or spec.names(site.layer)):
            layer = functional_linear(holder, site, spec)
            if layer is not None:
                move_weight(holder, site, layer)
        if isinstance(layer, FunctionalLinear):
            for reader in site.readers:
                read[reader].append(layer)
    for name, layers in read.items():
        if name in own_code:
            bind_reader(own_code[name], layers)


def _is_pointwise(conv: nn.Conv2d) -> bool:
    plain = conv.stride == (1, 1) and conv.padding in ((0, 0), 0, "valid", "same") and conv.groups == 1
    return plain and plain_type(conv) is nn.Conv2d and conv.kernel_size == (1, 1) and conv.in_channels >= NARROW
