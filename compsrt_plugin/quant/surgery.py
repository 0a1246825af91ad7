"""What changing a network in place needs: its modes and its parts as they were, and every place of a shared layer."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copyreg import __newobj__ as new_object  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.quantizer import Quantizer

Made = tuple[tuple[type, ...], dict[str, Any]]
"""What a function decorated by `makes_classes` returns: bases that come before the class, and new attributes."""

HOOKS = ("_forward_", "_backward_", "_is_full_backward_hook")  # prefixes of torch's names for hooks on calls


def refuse_converted(network: nn.Module) -> None:
    """Raise if a network, or a part of it, is converted already.

    Raises:
        CompSRTError: it is; names the first quantizer.
    """
    for name, module in network.named_modules():
        if isinstance(module, Quantizer):
            raise CompSRTError(
                f"{type(network).__name__} is converted already: it has the quantizer {name}",
                allowed="a full-precision network",
                hint="build it anew, or copy it before it is converted; parts with specs of their own are overrides",
            )


@contextmanager
def whole_or_not_at_all(network: nn.Module) -> Iterator[None]:
    """Undo what the body did to the network's modules if it raises: their classes, children and attributes."""
    before = [(module, type(module), dict(vars(module)), _copies(module)) for module in network.modules()]
    try:
        yield
    except BaseException:
        for module, module_class, attributes, containers in before:
            module.__class__ = module_class
            vars(module).clear()
            vars(module).update(attributes)
            for name, content in containers.items():  # in place: several modules may share one
                attributes[name].clear()
                attributes[name].extend(content) if isinstance(content, list) else attributes[name].update(content)
        raise


def _copies(module: nn.Module) -> dict[str, Any]:
    return {name: copy.copy(value) for name, value in vars(module).items() if isinstance(value, (dict, list, set))}


def take_over_hooks(replacement: nn.Module, module: nn.Module) -> None:
    """Give a replacement the hooks on calls of the module it replaces; their handles remove them as before."""
    for name, hooks in vars(module).items():
        if name.startswith(HOOKS):
            replacement.__dict__[name] = hooks


def replace_in_attributes(network: nn.Module, replaced: Mapping[nn.Module, nn.Module]) -> None:
    """Replace modules that code also finds in a plain list, tuple or dictionary, which torch does not look into."""
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
    """Return the error for `torch.nn.DataParallel` on what holds modules that are not its children."""
    return CompSRTError(
        f"DataParallel cannot copy {what}",
        allowed="one process a GPU",
        hint="torchrun and --launcher pytorch, or DistributedDataParallel",
    )


class MadeHere:
    """First base of a class made at run time from another: its instances pickle as that one and the way it was made."""

    made_by: tuple[Callable[..., type], type, tuple[Any, ...]]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As of any other object, but that the class is made again instead of looked up by its name."""
        reduced = super().__reduce_ex__(protocol)
        if isinstance(reduced, tuple) and reduced[0] is new_object:
            return (_new, (_recipe(type(self)), *reduced[1][1:]), *reduced[2:])
        return reduced


def makes_classes(make: Callable[..., Made]) -> Callable[..., type]:
    """Return a function that makes a class from another, once for all calls with the same arguments, named like it."""

    @functools.cache
    @functools.wraps(make)
    def made(module_class: type, *arguments: Any) -> type:
        bases, attributes = make(module_class, *arguments)
        told = {"__module__": module_class.__module__, "__doc__": module_class.__doc__}
        first = () if issubclass(module_class, MadeHere) else (MadeHere,)
        new = type(module_class.__name__, (*first, *bases, module_class), {**told, **attributes})
        new.made_by = (made, module_class, arguments)  # pyright: ignore[reportAttributeAccessIssue]
        return new

    return made


def _recipe(module_class: type) -> Any:
    if "made_by" not in vars(module_class):
        return module_class
    make, original, arguments = vars(module_class)["made_by"]
    return (make, _recipe(original), arguments)


def _made(recipe: Any) -> type:
    return recipe if isinstance(recipe, type) else recipe[0](_made(recipe[1]), *recipe[2])


def _new(recipe: Any, *arguments: Any) -> Any:
    module_class = _made(recipe)
    return module_class.__new__(module_class, *arguments)


def through_its_children(network: nn.Module) -> None:
    """Make encoders of torch's own call their layers in eval mode too.

    Torch's fast path hands the weights of `nn.TransformerEncoderLayer` to one kernel, which knows of no quantizer.
    """
    for module in network.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # what torch notes for activations that the kernel does not have
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # packed tensors are for the kernel alone
