"""Fold computed weights: weights and biases that hooks or parametrizations compute become plain parameters.

    torch.nn.utils.weight_norm, spectral_norm, prune      a hook computes them before each call
    torch.nn.utils.parametrizations, parametrize          a property computes them when they are read

A quantized layer rounds one tensor, so that tensor must be a parameter. Its values are those that the layer has when it
is called in eval mode.
"""

from __future__ import annotations

import warnings
from typing import cast

from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from compsrt_plugin.quant.modes import evaluating

FOLDED = (nn.Linear, nn.Conv2d)
NAMES = ("weight", "bias")


def plain_type(module: nn.Module) -> type[nn.Module]:
    """Return the class of a module without parametrization."""
    return parametrize.type_before_parametrizations(module)


def fold_computed(network: nn.Module) -> None:
    """Fold the computed weights and biases of all linear layers and convolutions of a network, in place."""
    for module in list(network.modules()):
        if plain_type(module) in FOLDED:
            with evaluating(module):
                _fold(module)


def has_computed_weight(layer: nn.Module, name: str) -> bool:
    """Return whether unknown code computes the weight or bias of a layer; if so, warn that the layer stays as it is."""
    computed = [part for part in NAMES if part not in layer._parameters]
    if computed:
        what = f"its own code computes the {computed[0]} of this {plain_type(layer).__name__}"
        warnings.warn(f"{name or 'the network'} stays in full precision: {what}", stacklevel=2)
    return bool(computed)


def _fold(layer: nn.Module) -> None:
    hooks = list(layer._forward_pre_hooks.items())
    for key, hook in hooks:
        if isinstance(hook, prune.BasePruningMethod):  # first, because a norm may be computed from the masked weight
            name = hook._tensor_name
            original = layer._parameters[f"{name}_orig"]
            _own(layer, name, hook.apply_mask(layer), original is not None and original.requires_grad)
            del layer._forward_pre_hooks[key], layer._parameters[f"{name}_orig"], layer._buffers[f"{name}_mask"]
    for _, hook in hooks:
        if isinstance(hook, WeightNorm):
            remove_weight_norm(layer, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(layer, hook.name)
    if parametrize.is_parametrized(layer):  # torch's own function would write into the tensors it computes from
        lists = cast(nn.ModuleDict, layer.parametrizations)
        trained = {name: any(p.requires_grad for p in lists[name].parameters()) for name in lists}
        values = {name: getattr(layer, name) for name in lists}
        layer.__class__ = plain_type(layer)
        del layer.parametrizations
        for name, value in values.items():
            _own(layer, name, value, trained[name])
    for name in NAMES:
        value = layer._buffers.get(name)
        if value is not None:
            _own(layer, name, value, False)


def _own(layer: nn.Module, name: str, value: Tensor, trained: bool) -> None:
    """Register a value as a parameter of the layer and replace whatever has its name."""
    vars(layer).pop(name, None)
    layer._buffers.pop(name, None)
    layer.register_parameter(name, nn.Parameter(value.detach().clone(), requires_grad=trained))
