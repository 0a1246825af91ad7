"""Wrap a super-resolution network of any class, so that it can be quantized and built again from its packed file.

A packed file holds no code: it names a class and its arguments, and a network object does not say with which arguments
it was built. Three ways lead to them:

1. spandrel finds architecture and arguments in the names and shapes of the weights;
2. the class builds the network without arguments;
3. the caller gives the arguments.

Whatever was found is built, gets the weights, and must then compute what the given network computes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from basicsr.archs.swinir_arch import SwinIR
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from compsrt_plugin.config.network_g import SwinIRBlock
from compsrt_plugin.config.typed import fields_of
from compsrt_plugin.devices import example
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import check_matches
from compsrt_plugin.quant.modes import evaluating
from compsrt_plugin.quant.surgery import refuse_converted
from compsrt_plugin.zoo import SizeRule, spandrel_files
from compsrt_plugin.zoo.own_classes import register_class

ANY_NETWORK, SWINIR = "CompSRTNet", "CompSRTSwinIR"  # our classes
SAME = 1e-4  # of the largest output: the largest difference between the given network and the one built again
PROBE = 32  # pixels, height and width of the image on which they are compared
COLOURS = 3


@dataclass(frozen=True)
class Wrapped:
    """A full-precision network that can be quantized.

    Attributes:
        network: with its weights, on the device of the given network, in eval mode.
        arch: the `network_g` block that builds it again.
    """

    network: Any
    arch: dict[str, Any]


def wrap(network: Any, arguments: Mapping[str, Any] | None = None) -> Wrapped:
    """Return a copy of a network that can be quantized and built again.

    Args:
        network: a module in full precision, an image model of spandrel, or a weight file that spandrel reads.
        arguments: keyword arguments that the module was built with; None: find them out.

    Raises:
        CompSRTError: it is none of these, is quantized already, does not take RGB images, or cannot be built again.
    """
    if isinstance(network, (str, Path)):
        found = spandrel_files.read(network)
        return _checked(_of_spandrel(found))
    network = getattr(network, "model", network)  # of spandrel's descriptor, which is no module
    if not isinstance(network, nn.Module):
        allowed = "a torch.nn.Module, a model that spandrel loaded, or a weight file"
        raise CompSRTError(f"the network is a {type(network).__name__}", allowed=allowed)
    refuse_converted(network)
    place = example(network)
    if place is None or place.dtype != torch.float32:
        found = "has no weights" if place is None else f"is {str(place.dtype).removeprefix('torch.')}"
        raise CompSRTError(f"the network {found}", allowed="a network of float32", hint="call .float() first")
    tried = []
    for build in _ways(network, arguments):
        try:
            made = build()
            made.network.to(place.device)
            _check_same(made.network, network)
        except CompSRTError as error:
            tried.append(str(error).split(";")[0])
            continue
        return _checked(made)
    kind = type(network)
    raise CompSRTError(
        f"{kind.__name__} cannot be built again from its packed file ({' / '.join(tried)})",
        allowed=f"arguments of {kind.__name__}: {', '.join(inspect.signature(kind).parameters)}",
        hint="give those that it was built with: quantize(…, arguments={…})",
    )


def _ways(network: nn.Module, arguments: Mapping[str, Any] | None) -> Iterator[Callable[[], Wrapped]]:
    """Yield the ways to build a network again, the surest first."""
    kind = type(network)
    if isinstance(network, ARCH_REGISTRY.get(ANY_NETWORK)):
        yield lambda: _loaded({"type": ANY_NETWORK, **cast(Any, network).arch}, network)
        return
    if arguments is None:
        yield lambda: _of_spandrel(spandrel_files.recognize(network.state_dict(), kind.__name__))
    plain = {name: spandrel_files.plain_value(name, value) for name, value in (arguments or {}).items()}
    if issubclass(kind, SwinIR):
        known = {name: p.default for name, p in inspect.signature(SwinIR).parameters.items() if name in _SWINIR}
        yield lambda: _loaded({"type": SWINIR, **(known if kind is SwinIR else {}), **plain}, network)
    else:
        register_class(kind)
        yield lambda: _of_class(kind, plain, network)


_SWINIR = set(fields_of(SwinIRBlock))


def _of_spandrel(found: spandrel_files.SpandrelFile) -> Wrapped:
    """Return what spandrel found; a SwinIR as the class that the engine runs as a whole, if it computes the same."""
    block = found.block
    if block["class"] == "SwinIR":
        arguments = {name: value for name, value in block["arguments"].items() if name in _SWINIR}
        try:
            made = _loaded({"type": SWINIR, **arguments, "upscale": found.scale}, found.network)
            _check_same(made.network, found.network)
            return made
        except CompSRTError:
            pass  # a variant of spandrel's class, such as one that reads shuffled pixels
    arch = {"type": ANY_NETWORK, "base": block, "upscale": found.scale, "size": found.size.to_dict()}
    return _loaded(arch, found.network)


def _of_class(kind: type[nn.Module], arguments: Mapping[str, Any], network: nn.Module) -> Wrapped:
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError as error:
        raise CompSRTError(f"its arguments are not known: {error}") from error
    return _loaded({"type": ANY_NETWORK, "base": {"type": kind.__name__, **arguments}}, network)


def _loaded(arch: dict[str, Any], network: nn.Module) -> Wrapped:
    """Return the network of a block with the weights of another.

    Raises:
        CompSRTError: it cannot be built, or the weights do not fit.
    """
    arguments = {name: value for name, value in arch.items() if name != "type"}
    made = ARCH_REGISTRY.get(arch["type"])(**arguments)
    weights = network.state_dict()
    check_matches(weights, made, "the network")
    made.load_state_dict(weights, strict=False)  # only derived buffers may be missing: the rest was checked
    return Wrapped(made.eval(), {**arch, **getattr(made, "arch", {})})


def _check_same(made: Any, network: nn.Module) -> None:
    """Raise CompSRTError unless two networks on one device compute the same."""
    rule: SizeRule = getattr(made, "size_rule", SizeRule(made.window_size))
    place = cast(torch.Tensor, example(network))
    height, width = rule.fit(PROBE, PROBE)
    seeded = torch.Generator("cpu").manual_seed(0)
    shape = (1, _channels(made), height, width)
    image = torch.rand(shape, generator=seeded, device="cpu", dtype=torch.float32).to(place)
    try:
        with evaluating(network), torch.no_grad():
            wanted, found = network(image), made(image)
        difference = float((found - wanted).abs().max() / wanted.abs().max())
    except Exception as error:  # foreign code may raise anything
        said = (str(error).strip().split("\n")[0] or type(error).__name__)[:160]
        raise CompSRTError(f"it cannot be compared with the network built again: {said}") from error
    if not difference <= SAME:
        raise CompSRTError(f"built again it computes something else, by {difference:.1%} of the largest value")


def _checked(made: Wrapped) -> Wrapped:
    channels = _channels(made.network)
    if channels != COLOURS:
        raise CompSRTError(f"the network takes images of {channels} channels", allowed="3: red, green, blue")
    return made


def _channels(network: Any) -> int:
    return network.conv_first.in_channels if isinstance(network, SwinIR) else network.channels
