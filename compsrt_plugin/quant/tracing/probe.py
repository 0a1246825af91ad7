"""`record_pass`: record the products, layers and weights of one forward pass with a `TorchFunctionMode`.

Each tensor of the pass carries marks: it depends on the image (`DATA`), a layer computed it (`LAYER`), it comes from
a softmax (`MAP`), and the numbers of the products it comes from. Marks pass through additions, reshapes and similar
functions. Layers and products remove all marks but the first two. The marks of `tracing.trunk` pass through activation
functions only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from compsrt_plugin.quant.computed_weights import plain_type
from compsrt_plugin.quant.modes import evaluating
from compsrt_plugin.quant.tracing.identity import Kind, kind_of
from compsrt_plugin.quant.tracing.products import (
    LINEAR,
    PRODUCTS,
    SDPA,
    SOFTMAXES,
    Axes,
    axes_of,
    linear_arguments,
    operands,
)
from compsrt_plugin.quant.tracing.trunk import ACTIVATIONS, TrunkConvolutions, without_trunk

DATA, LAYER, MAP = "data", "layer", "map"
LAYER_FUNCTIONS = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "bilinear")
_MARKS = "_compsrt_marks"
_ONE = 1e-3  # largest difference between 1 and the sum of a row of a softmax map


@dataclass
class Call:
    """One product of one forward pass.

    Attributes:
        module: dotted name of the module whose code computes it.
        index: its number among the products of that module.
        func: the called function.
        shapes: shapes of its operands (q, k, v for attention).
        axes: its axes; a text if they are not supported; None for attention.
        macs: number of multiply-adds; 0 if unknown.
        marks: marks of its operands.
        kind: how it is recognized.
        to_softmax: whether its result reaches a softmax.
        sums_to_one: index of the operand whose rows sum to 1 along the contracted axis; None if there is none.
    """

    module: str
    index: int
    func: Any
    shapes: list[torch.Size]
    axes: Axes | str | None
    macs: int
    marks: list[frozenset[str | int]]
    kind: Kind
    to_softmax: bool = False
    sums_to_one: int | None = None


@dataclass
class Use:
    """How a layer or weight was used in one forward pass.

    Attributes:
        data: whether its input depends on the image.
        vectors: number of input vectors per image.
        readers: names of the modules whose own code called `F.linear` with the weight, in order.
        otherwise: whether the weight was used for anything else, or belongs to several modules.
    """

    data: bool = False
    vectors: int = 0
    readers: list[str] = field(default_factory=list)
    otherwise: bool = False

    def add(self, x: Tensor, channels: int, images: int) -> None:
        """Record an input with this number of channels, from a batch of this number of images."""
        self.data |= DATA in marks_of(x)
        self.vectors += x.numel() // max(1, channels) // images


@dataclass
class ForwardPass:
    """The record of one forward pass.

    Attributes:
        calls: products, in order.
        layers: use of each linear layer and convolution that ran, by name.
        weights: use of each parameter that code outside the class of its layer reads, by name.
        direct: name of each module whose own code calls `F.linear` -> multiply-adds.
        computed: names of modules that call `F.linear` with a weight that is not a parameter.
        trunk: 1x1 convolutions between two k x k ones.
        output: shape of the result.
    """

    calls: list[Call] = field(default_factory=list)
    layers: dict[str, Use] = field(default_factory=lambda: defaultdict(Use))
    weights: dict[str, Use] = field(default_factory=lambda: defaultdict(Use))
    direct: Counter[str] = field(default_factory=Counter)
    computed: set[str] = field(default_factory=set)
    trunk: TrunkConvolutions = field(default_factory=TrunkConvolutions)
    output: tuple[int, ...] = ()


@dataclass
class _Frame:
    """A module whose forward pass is running, and the number of products in its own code so far."""

    name: str
    module: nn.Module
    products: int = 0


def record_forward(network: nn.Module, image: Tensor) -> ForwardPass:
    """Run a network and return the record of the pass; the network and the random state are unchanged."""
    found = ForwardPass()
    frames: list[_Frame] = []
    handles: list[RemovableHandle] = []

    def watch(name: str, module: nn.Module) -> None:
        def enter(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            frames.append(_Frame(name, module))
            if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) and inputs:
                channels = inputs[0].shape[-1 if isinstance(module, nn.Linear) else 1]
                found.layers[name].add(inputs[0], channels, len(image))

        def leave(*_: Any) -> None:
            frames.pop()

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave, always_call=True))

    with ExitStack() as stack:
        stack.callback(lambda: [handle.remove() for handle in handles])
        stack.enter_context(evaluating(network))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.no_grad())
        for name, module in network.named_modules():
            watch(name, module)
        _mark(image := image.clone(), frozenset([DATA]))
        with _Marking(found, frames, _names(network, found), len(image)):
            found.output = tuple(network(image).shape)
    return found


def _names(network: nn.Module, found: ForwardPass) -> dict[int, str]:
    """Return the names of the parameters by id; record parameters with several names as used otherwise."""
    names: dict[int, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if names.setdefault(id(parameter), name) != name:
            found.weights[names[id(parameter)]].otherwise = True
    return names


class _Marking(TorchFunctionMode):
    """Pass marks from the arguments of a function to its results, and record products."""

    def __init__(self, found: ForwardPass, frames: list[_Frame], names: dict[int, str], images: int) -> None:
        super().__init__()
        self.found, self.frames, self.names, self.images = found, frames, names, images

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        result = func(*args, **kwargs)
        self._record_parameters(func, args, kwargs, result)
        marks = frozenset().union(*(marks_of(x) for x in _tensors((args, list(kwargs.values())))))
        if func in PRODUCTS:
            number = len(self.found.calls)
            self.found.calls.append(self._call(func, args, kwargs))
            marks = (marks & {DATA, LAYER}) | {number}
        elif func in SOFTMAXES:
            for number in marks:
                if isinstance(number, int):
                    self.found.calls[number].to_softmax = True
            marks = (marks & {DATA, LAYER}) | {MAP}
        elif name in LAYER_FUNCTIONS:
            frame = self.frames[-1]
            marks = (marks & {DATA}) | {LAYER} | self.found.trunk.after_layer(frame.name, frame.module, marks)
        elif name not in ACTIVATIONS:
            marks = without_trunk(marks)
        if marks:
            in_place = name == "__setitem__" or name.startswith("__i") or (name.endswith("_") and name[-2:] != "__")
            given = {id(x) for x in _tensors(args)}
            changed = [*_tensors(args[:1])] if in_place else []
            if name not in ACTIVATIONS:
                for x in changed:
                    setattr(x, _MARKS, without_trunk(marks_of(x)))
            # A returned argument (`buffer.type_as(x)`) is not a result.
            for x in [*changed, *(x for x in _tensors((result,)) if id(x) not in given)]:
                _mark(x, marks)
        return result

    def _record_parameters(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Record which parameters code reads directly, and for what."""
        if not self.frames or plain_type(self.frames[-1].module) is nn.Linear:
            return  # such a layer reads its own weight
        frame = self.frames[-1]
        x, weight = linear_arguments(*args, **kwargs)[:2] if func is LINEAR else (None, None)
        if x is not None and weight is not None:
            if not (isinstance(frame.module, nn.Linear) and weight is frame.module.weight):  # counted for that layer
                self.found.direct[frame.name] += result.numel() * x.shape[-1]
            if id(weight) in self.names:
                use = self.found.weights[self.names[id(weight)]]
                use.add(x, x.shape[-1], self.images)
                use.readers += [] if frame.name in use.readers else [frame.name]
            else:
                self.found.computed.add(frame.name)
        made = [id(y) for y in _tensors((result,))]
        for parameter in _tensors((args, list(kwargs.values()))):
            # A shape, or the parameter itself (`weight.to(x.dtype)`), does not use the values.
            if id(parameter) in self.names and parameter is not weight and made and made != [id(parameter)]:
                self.found.weights[self.names[id(parameter)]].otherwise = True

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        frame = self.frames[-1]
        frame.products += 1
        given = [x for x in operands(func, args, kwargs) if isinstance(x, Tensor)]
        shapes, marks = [x.shape for x in given], [marks_of(x) for x in given]
        call = Call(frame.name, frame.products - 1, func, shapes, None, 0, marks, kind_of(func, args, given))
        if func is SDPA:
            q, k, v = shapes
            call.macs = q[:-1].numel() * k[-2] * (q[-1] + v[-1])
        elif len(given) != 2:
            call.axes = f"a product of {len(given)} tensors"
        else:
            call.axes = axes_of(func, args, given[0], given[1])
            if isinstance(call.axes, Axes):
                call.macs = call.axes.macs
                for side in (0, 1) if not given[0].is_meta else ():
                    sums = given[side].sum(call.axes.contracted[side])
                    if MAP in marks[side] and sums.numel() and bool(((sums - 1).abs() < _ONE).all()):
                        call.sums_to_one = side
        return call


def marks_of(x: Any) -> frozenset[str | int]:
    """Return the marks of a tensor; an empty set for anything else."""
    return getattr(x, _MARKS, frozenset())


def _mark(x: Tensor, marks: frozenset[str | int]) -> None:
    if not x.is_floating_point():  # positions in a map are not a map
        marks = marks & {DATA, LAYER}
    if not isinstance(x, nn.Parameter):
        setattr(x, _MARKS, marks_of(x) | marks)


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
