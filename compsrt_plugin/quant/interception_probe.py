"""`discover`: what a network multiplies in a forward pass, learnt by running it on small pictures.

Every tensor of the probing pass carries marks: that it depends on the picture (`DATA`), that a layer has made it
(`LAYER`), that it comes from a softmax (`MAP`), and the numbers of the products it comes from. Marks follow a tensor
through additions, reshapes and the like; layers and products end all but the first two. So

    a product whose result reaches a softmax                is q k^T
    a product that reads what comes from a softmax          is map · v
    any other of two tensors that depend on the picture     has the operands `left` and `right`
    one with a learned matrix                               is left as it is

The pass is run at two sizes: an axis whose length changes with the picture cannot have a fixed transform.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.interception import MOST_TRANSFORMED, Operand, Site
from compsrt_plugin.quant.interception_products import PRODUCTS, SDPA, SOFTMAXES, Axes, axes_of, operands

DATA, LAYER, MAP = "data", "layer", "map"
LAYERS = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "bilinear")
_MARKS = "_compsrt_marks"
_ONE = 1e-3  # how far from 1 the rows of a softmax map may sum


@dataclass
class Call:
    """One product of one forward pass.

    Attributes:
        module: dotted name of the module in whose code it stands.
        index: its number among the products of that module.
        func: what was called.
        shapes: of its operands (of attention: q, k, v).
        axes: where they meet; a text says why that cannot be used; None for attention.
        macs: multiply-adds; 0 where unknown.
        marks: of its operands.
        to_softmax: whether its result reaches a softmax.
        sums_to_one: which operand's rows sum to 1 along the axis that is contracted, if one does.
    """

    module: str
    index: int
    func: Any
    shapes: list[torch.Size]
    axes: Axes | str | None
    macs: int
    marks: list[frozenset[str | int]]
    to_softmax: bool = False
    sums_to_one: int | None = None


@dataclass
class Pass:
    """What one forward pass showed.

    Attributes:
        calls: products, in order.
        layers: name of each linear layer and convolution that ran -> whether its input depends on the picture.
        vectors: name of each of them -> how many input vectors one picture gave it.
        direct: name of each module whose own code calls `F.linear` -> multiply-adds.
        output: shape of the result.
    """

    calls: list[Call] = field(default_factory=list)
    layers: dict[str, bool] = field(default_factory=dict)
    vectors: Counter[str] = field(default_factory=Counter)
    direct: Counter[str] = field(default_factory=Counter)
    output: tuple[int, ...] = ()


@dataclass(frozen=True)
class Discovery:
    """What `convert` needs to know of a foreign network.

    Attributes:
        sites: name of each module that multiplies by itself -> its products, in order.
        keep: name of each layer that the rules leave in full precision -> why.
        left_alone: products that are not quantized, `module: why`.
    """

    sites: Mapping[str, tuple[Site, ...]]
    keep: Mapping[str, str]
    left_alone: Sequence[str]


def discover(network: nn.Module, pictures: Sequence[Tensor]) -> Discovery:
    """Run a network that is not yet converted on pictures of two sizes and say what it multiplies.

    Args:
        network: any module whose input is one tensor.
        pictures: two inputs that differ in height and width.

    Raises:
        CompSRTError: its code computes different products for different sizes.
    """
    first, second = (run(network, picture) for picture in pictures)
    same = [(call.module, call.index) for call in first.calls] == [(call.module, call.index) for call in second.calls]
    if not same:
        raise CompSRTError(
            f"{type(network).__name__} computes {len(first.calls)} products for one size of picture and "
            f"{len(second.calls)} for another",
            hint="write an adapter for its attention: see docs/your_own_network.md",
        )
    sites: dict[str, list[Site]] = defaultdict(list)
    left_alone = []
    numbers: Counter[tuple[str, str]] = Counter()
    for one, other in zip(first.calls, second.calls):
        if one.index < len(sites[one.module]):
            continue  # a module that ran before
        why = _why_not(one)
        if why:
            left_alone.append(f"{one.module or type(network).__name__}: {why}")
            sites[one.module].append(Site(one.func is SDPA, ()))
            continue
        sites[one.module].append(_site(one, other, numbers))
    return Discovery({name: tuple(found) for name, found in sites.items()}, _kept(network, first), left_alone)


def run(network: nn.Module, picture: Tensor) -> Pass:
    """Run a network and return what it multiplied; it and its random state are as before."""
    found = Pass()
    frames: list[list[Any]] = []
    handles: list[RemovableHandle] = []
    training = network.training

    def watch(name: str, module: nn.Module) -> None:
        layer = isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d))

        def enter(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            frames.append([name, 0, layer])
            if layer and inputs:
                x = inputs[0]
                found.layers[name] = found.layers.get(name, False) or DATA in marks_of(x)
                channels = x.shape[-1 if isinstance(module, nn.Linear) else 1]
                found.vectors[name] += x.numel() // max(1, channels) // len(picture)

        def leave(*_: Any) -> None:
            frames.pop()

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave, always_call=True))

    with ExitStack() as stack:
        stack.callback(lambda: [handle.remove() for handle in handles])
        stack.callback(network.train, training)
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.no_grad())
        for name, module in network.named_modules():
            watch(name, module)
        _mark(picture := picture.clone(), frozenset([DATA]))
        network.eval()
        with _Marking(found, frames):
            found.output = tuple(network(picture).shape)
    return found


class _Marking(TorchFunctionMode):
    """Hands marks on from the tensors a function takes to those it returns, and notes the products."""

    def __init__(self, found: Pass, frames: list[list[Any]]) -> None:
        super().__init__()
        self.found, self.frames = found, frames

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        result = func(*args, **kwargs)
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
        elif name in LAYERS:
            if name == "linear" and not self.frames[-1][2]:
                x = args[0] if args else kwargs["input"]
                self.found.direct[self.frames[-1][0]] += result.numel() * x.shape[-1]
            marks = (marks & {DATA}) | {LAYER}
        if marks:
            in_place = name == "__setitem__" or name.startswith("__i") or (name.endswith("_") and name[-2:] != "__")
            given = {id(x) for x in _tensors(args)}
            changed = [*_tensors(args[:1])] if in_place else []
            # What is handed back as it came (`buffer.type_as(x)`) is no result.
            for x in [*changed, *(x for x in _tensors((result,)) if id(x) not in given)]:
                _mark(x, marks)
        return result

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        frame = self.frames[-1]
        frame[1] += 1
        given = [x for x in operands(func, args, kwargs) if isinstance(x, Tensor)]
        shapes, marks = [x.shape for x in given], [marks_of(x) for x in given]
        call = Call(frame[0], frame[1] - 1, func, shapes, None, 0, marks)
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
    """Return the marks of a tensor; none of anything else."""
    return getattr(x, _MARKS, frozenset())


def _mark(x: Tensor, marks: frozenset[str | int]) -> None:
    if not x.is_floating_point():  # positions found in a map are no map
        marks = marks & {DATA, LAYER}
    if not isinstance(x, nn.Parameter):
        setattr(x, _MARKS, marks_of(x) | marks)


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def role(call: Call) -> str:
    """Return `qk`, `mapv` or `other`."""
    if any(MAP in marks for marks in call.marks[:2]):
        return "mapv"
    return "qk" if call.to_softmax else "other"


def _why_not(call: Call) -> str | None:
    """Return why a product is left as it is, None if it is not."""
    if isinstance(call.axes, str):
        return call.axes
    if not all({DATA, LAYER} & marks for marks in call.marks):
        return "a product with a learned matrix"
    if role(call) == "other" and not all(DATA in marks for marks in call.marks):
        return "a product with a tensor that is the same for every picture"
    return None


def _site(one: Call, other: Call, numbers: Counter[tuple[str, str]]) -> Site:
    """Return the operands of a product, named after their group; the first of its kind in a module needs none."""
    kind = role(one)
    what = "product" if kind == "other" else "attention"

    def group(kind: str) -> str:
        number = numbers[one.module, kind]
        numbers[one.module, kind] += 1
        return f"{what}{number}." if number else ""

    if one.func is SDPA:
        before, after = group("qk"), group("mapv")
        keys = one.shapes[1][-2] == other.shapes[1][-2] <= MOST_TRANSFORMED
        qk = [Operand(f"{before}{name}", -1, True, fixed=True) for name in ("q", "k")]
        mapped = Operand(f"{after}map", -1, True, fixed=keys, sums_to_one=True)
        return Site(True, (*qk, mapped, Operand(f"{after}v", -1, False, fixed=True)))
    assert isinstance(one.axes, Axes)
    prefix = group(kind)
    map_side = 0 if MAP in one.marks[0] else 1
    found = []
    for side in (0, 1):
        name = {"qk": ("q", "k"), "other": ("left", "right")}.get(kind, ("v", "v"))[side]
        name = "map" if kind == "mapv" and side == map_side else name
        choices: list[tuple[int, bool]] = [(one.axes.contracted[side], True)]
        free = one.axes.free[side]
        if free is not None:
            # v keeps its transform along the channels of a head: along tokens its mean would swallow the range.
            choices.insert(0 if name == "v" else 1, (free, False))
        for axis, contracted in choices:
            if one.shapes[side][axis] == other.shapes[side][axis] <= MOST_TRANSFORMED:
                found.append(Operand(f"{prefix}{name}", axis, contracted, True, one.sums_to_one == side))
                break
        else:
            found.append(Operand(f"{prefix}{name}", -1, False, fixed=False))
    return Site(False, (found[0], found[1]))


def _kept(network: nn.Module, found: Pass) -> dict[str, str]:
    """Return the layers that are left in full precision whatever the bits are, and why."""
    keep = {}
    for name, module in network.named_modules():
        if not isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d)):
            continue
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            keep[name] = "depth-wise convolution"
        elif type(module) not in (nn.Linear, nn.Conv2d) or getattr(module, "padding_mode", "zeros") != "zeros":
            keep[name] = f"no rule for {type(module).__name__}"
        elif name not in found.layers:
            keep[name] = "not called: unused, or its weight is read by code around it"
        elif not found.layers[name]:
            keep[name] = "its input is the same for every picture, as of a position bias"
        elif found.vectors.get(name) == 1:
            keep[name] = "one vector a picture (channel attention)"
    return keep
