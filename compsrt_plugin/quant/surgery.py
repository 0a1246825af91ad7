"""Change a network in place: undo on errors, and replace a module at all its places."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.quantizer import Quantizer

HOOKS = ("_forward_", "_backward_", "_is_full_backward_hook")  # prefixes of torch's attributes for hooks on calls


def refuse_converted(network: nn.Module) -> None:
    """Refuse a network that is converted already, as a whole or in part.

    Raises:
        CompSRTError: it is; the message names the first quantizer.
    """
    for name, module in network.named_modules():
        if isinstance(module, Quantizer):
            raise CompSRTError(
                f"{type(network).__name__} is converted already: it has the quantizer {name}",
                allowed="a full-precision network",
                hint="build it again, or copy it before conversion; use overrides for parts with other specs",
            )


@contextmanager
def undo_on_error(network: nn.Module) -> Iterator[None]:
    """Restore classes, children and attributes of all modules of the network if the body raises."""
    before = [(module, type(module), dict(vars(module)), _copies(module)) for module in network.modules()]
    try:
        yield
    except BaseException:
        for module, module_class, attributes, containers in before:
            module.__class__ = module_class
            vars(module).clear()
            vars(module).update(attributes)
            for name, content in containers.items():  # in place, since modules may share a container
                attributes[name].clear()
                attributes[name].extend(content) if isinstance(content, list) else attributes[name].update(content)
        raise


def _copies(module: nn.Module) -> dict[str, Any]:
    return {name: copy.copy(value) for name, value in vars(module).items() if isinstance(value, (dict, list, set))}


def take_over_hooks(replacement: nn.Module, module: nn.Module) -> None:
    """Move the hooks on calls of a module to its replacement; their handles still remove them."""
    for name, hooks in vars(module).items():
        if name.startswith(HOOKS):
            replacement.__dict__[name] = hooks


def replace_in_attributes(network: nn.Module, replaced: Mapping[nn.Module, nn.Module]) -> None:
    """Replace modules in plain lists, tuples and dictionaries too, which torch does not search."""
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if name in ("_modules", "_parameters", "_buffers"):
                continue
            if isinstance(value, list):
                value[:] = [_other(item, replaced) for item in value]
            elif isinstance(value, dict):
                value.update({key: _other(item, replaced) for key, item in value.items()})
            elif type(value) is tuple and any(_other(item, replaced) is not item for item in value):
                module.__dict__[name] = tuple(_other(item, replaced) for item in value)


def _other(item: Any, replaced: Mapping[nn.Module, nn.Module]) -> Any:
    return replaced.get(item, item) if isinstance(item, nn.Module) else item


def refuse_replicas(what: str) -> CompSRTError:
    """Return the error for `torch.nn.DataParallel` on a module that refers to modules which are not its children."""
    return CompSRTError(
        f"DataParallel cannot copy {what}",
        allowed="one process per GPU",
        hint="torchrun and --launcher pytorch, or DistributedDataParallel",
    )


def disable_fast_path(network: nn.Module) -> None:
    """Switch off torch's fast path of transformer encoders, so that they call their layers in eval mode too.

    The fast path passes the weights of `nn.TransformerEncoderLayer` to one kernel that ignores quantizers.
    """
    for module in network.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # torch's value for activations that the kernel does not support
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # only the kernel uses nested tensors
