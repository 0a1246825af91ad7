"""Read weight files of other people's networks by spandrel (extra `zoo`: more architectures).

spandrel tells the architecture and its arguments from the names and shapes in a state dict. Its classes keep their
arguments (`hyperparameters`), plain values that go into the header of a packed file, so that the network is rebuilt
there by its own class from keyword arguments. Nothing is pickled, and no name in a file is imported: a class is
looked up among those of spandrel's registry.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.packed import load_weights
from compsrt_plugin.zoo.construct import construct
from compsrt_plugin.zoo.size import SizeRule

INSTALL = "pip install spandrel"


@dataclass(frozen=True)
class SpandrelFile:
    """A weight file that was read.

    Attributes:
        network: with its weights.
        block: `{spandrel: id, class: name, arguments: {…}}`, plain values.
        scale: of the network.
        size: images it takes.
    """

    network: nn.Module
    block: dict[str, Any]
    scale: int
    size: SizeRule


def read(source: str | Path, param_key: str | None = None) -> SpandrelFile:
    """Read a weight file.

    Args:
        source: .pth or .safetensors, a path or a URL.
        param_key: the entry asked for, see `checkpoint.entries`.

    Raises:
        CompSRTError: spandrel is missing, the file is damaged, or holds no network that enlarges one image.
    """
    import_spandrel()  # before a large file is read
    return recognize(load_weights(source, param_key=param_key, derived=True), source)


def recognize(weights: Mapping[str, torch.Tensor], source: str | Path) -> SpandrelFile:
    """Return the network that a state dict belongs to, with these weights.

    Args:
        weights: the state dict, with derived buffers if it has any.
        source: what it was read from, for messages.

    Raises:
        CompSRTError: spandrel is missing, or does not know this as a network that enlarges one image.
    """
    registry = _registry()
    import spandrel

    supported = next((entry for entry in registry.architectures("detection") if entry.detect(weights)), None)
    if supported is None:
        raise CompSRTError(
            f"{source} is of no architecture that spandrel {_version()} knows",
            hint="name its class instead: network_g.base: {type: …}, path.pretrain_network_g: the file",
        )
    architecture = supported.architecture
    try:
        found = architecture.load(dict(weights))
    except Exception as error:  # foreign code may raise anything over a file that only looks like its own
        said = (str(error).strip().split("\n")[0] or type(error).__name__)[:160]
        raise CompSRTError(f"{source} looks like {architecture.name}, but spandrel cannot load it ({said})") from error
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise CompSRTError(f"{source} is {architecture.name}, which takes more than one image")
    state = found.model.state_dict()
    integers = [
        name
        for name in state.keys() & weights.keys()
        if state[name].is_floating_point() and not weights[name].is_floating_point()
    ]
    if integers:
        raise CompSRTError(f"{source} holds integers where {architecture.name} has weights: {min(integers)}")
    needs = found.size_requirements
    size = SizeRule(needs.multiple_of, max(1, needs.minimum), needs.square)
    network = found.model.float()
    block = {"spandrel": architecture.id, "class": type(network).__name__, "arguments": _arguments(network)}
    return SpandrelFile(network, block, found.scale, size)


def rebuild(block: Mapping[str, Any]) -> nn.Module:
    """Build the network that `read` described, with arbitrary weights.

    Raises:
        CompSRTError: spandrel is missing, does not know the architecture, or its class refuses the arguments.
    """
    classes = _classes(block["spandrel"])
    if block["class"] not in classes:
        raise unknown_name(f"class of {block['spandrel']}", block["class"], classes)
    return construct(classes[block["class"]], block["arguments"], f"{block['class']} of spandrel")


def _arguments(network: nn.Module) -> dict[str, Any]:
    """Return the arguments a network was built with, as plain values."""
    given = getattr(network, "hyperparameters", None)
    if not isinstance(given, Mapping):
        raise CompSRTError(
            f"spandrel's {type(network).__name__} does not say how it was built",
            hint="name its class instead: network_g.base: {type: …}, path.pretrain_network_g: the file",
        )
    defaults = {name: p.default for name, p in inspect.signature(type(network).__init__).parameters.items()}
    found = {}
    for name, value in given.items():
        try:
            found[name] = plain_value(name, value)
        except CompSRTError:
            if defaults.get(name) is not value:  # such as a class
                raise
    return found


def plain_value(name: str, value: Any) -> Any:
    """Return the value of a constructor's argument as a packed file holds it.

    Args:
        name: of the argument, for the message.
        value: a number, text, None, a tensor of one element, or lists and mappings of these.

    Raises:
        CompSRTError: a value of another type.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain_value(name, item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain_value(name, item) for key, item in value.items()}
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return value.item()
    raise CompSRTError(f"the argument {name} of this network is a {type(value).__name__}, which no file can hold")


def _classes(architecture_id: str) -> dict[str, type[nn.Module]]:
    """Return the network classes of an architecture in spandrel's registry, by name."""
    registry = _registry()
    if architecture_id not in registry:
        known = [entry.architecture.id for entry in registry.architectures()]
        raise unknown_name("architecture of spandrel", architecture_id, known)
    architecture = type(registry[architecture_id].architecture)
    found: dict[str, type[nn.Module]] = {}
    for parent in getattr(architecture, "__orig_bases__", ()):
        for argument in typing.get_args(parent):
            for candidate in typing.get_args(argument) or (argument,):
                if isinstance(candidate, type) and issubclass(candidate, nn.Module):
                    found[candidate.__name__] = candidate
    return found


def import_spandrel() -> Any:
    """Return the module `spandrel`.

    Raises:
        CompSRTError: it is not installed.
    """
    try:
        import spandrel
    except ImportError as error:
        raise CompSRTError("spandrel, which reads weight files of other networks, is missing", hint=INSTALL) from error
    return spandrel


def _registry() -> Any:
    """Return spandrel's registry with the extra architectures, if they are installed."""
    spandrel = import_spandrel()
    try:
        import spandrel_extra_arches
    except ImportError:
        return spandrel.MAIN_REGISTRY
    spandrel_extra_arches.install(ignore_duplicates=True)
    return spandrel.MAIN_REGISTRY


def _version() -> str:
    from importlib.metadata import version

    return version("spandrel")
