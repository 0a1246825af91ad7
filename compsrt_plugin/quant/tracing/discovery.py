"""`discover`: what `convert` shall do with a network that it has never seen, by rule.

The network is run on two small pictures (`interception_probe`). Of its products

    one whose result reaches a softmax                      is q k^T
    one that reads what comes from a softmax                is map · v
    any other of two tensors that depend on the picture     has the operands `left` and `right`
    one with a learned matrix                               is left as it is

and an axis whose length changes with the picture cannot have a fixed transform.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.computed_weights import plain_type
from compsrt_plugin.quant.surgery import refuse_converted
from compsrt_plugin.quant.tracing.identity import Kind
from compsrt_plugin.quant.tracing.interception import MOST_TRANSFORMED, Site, TracedOperand
from compsrt_plugin.quant.tracing.linears import LinearSite
from compsrt_plugin.quant.tracing.probe import DATA, LAYER, MAP, Call, Pass, Use, run
from compsrt_plugin.quant.tracing.products import SDPA, Axes


@dataclass(frozen=True)
class Discovery:
    """What `convert` needs to know of a foreign network.

    Attributes:
        sites: name of each module that multiplies by itself -> its products, in order.
        linears: weights that code reads for `F.linear`, by the name of the layer that shall hold each.
        keep: name of each layer that the rules leave in full precision -> why.
        trunk: 1x1 convolutions that are convolutions of a trunk, not linear layers (`interception_trunk`).
        left_alone: products that are not quantized, `module: why`.
    """

    sites: Mapping[str, tuple[Site, ...]]
    linears: Mapping[str, LinearSite]
    keep: Mapping[str, str]
    trunk: frozenset[str]
    left_alone: Sequence[str]


def discover(network: nn.Module, pictures: Sequence[Tensor]) -> Discovery:
    """Run a network that is not yet converted on pictures of two sizes and say what it multiplies.

    Args:
        network: any module whose input is one tensor.
        pictures: two inputs that differ in height and width.

    Raises:
        CompSRTError: a picture is no tensor, the network's code computes different products for different sizes, or it
            is converted already.
    """
    refuse_converted(network)
    for picture in pictures:
        if not isinstance(picture, Tensor):
            raise CompSRTError(
                f"a picture is of the kind {type(picture).__name__}",
                allowed="tensors, for a network whose input is one tensor",
                hint="wrap a network of another kind in a module whose forward takes a tensor",
            )
    first = run(network, pictures[0])
    second = run(network, pictures[1]) if first.calls else first  # the second tells of products alone
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
            sites[one.module].append(Site(_kind(one, other), ()))
            continue
        sites[one.module].append(_site(one, other, numbers))
    computed = (name or type(network).__name__ for name in sorted(first.computed))
    left_alone += [f"{name}: a linear layer whose weight is computed" for name in computed]
    linears = {site.layer: site for site in _linears(network, first)}
    return Discovery(
        {name: tuple(found) for name, found in sites.items()},
        linears,
        _kept(network, first, linears),
        frozenset(first.trunk.names),
        left_alone,
    )


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
        qk = [TracedOperand(f"{before}{name}", -1, True, fixed=True) for name in ("q", "k")]
        mapped = TracedOperand(f"{after}map", -1, True, fixed=keys, sums_to_one=True)
        return Site(_kind(one, other), (*qk, mapped, TracedOperand(f"{after}v", -1, False, fixed=True)))
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
                found.append(TracedOperand(f"{prefix}{name}", axis, contracted, True, one.sums_to_one == side))
                break
        else:
            found.append(TracedOperand(f"{prefix}{name}", -1, False, fixed=False))
    return Site(_kind(one, other), (found[0], found[1]))


def _kind(one: Call, other: Call) -> Kind:
    return one.kind.with_other_picture(other.kind)


def _linears(network: nn.Module, found: Pass) -> Iterator[LinearSite]:
    """Yield the weights that code reads for `F.linear` and for nothing else."""
    parameters = dict(network.named_parameters())
    for name, use in found.weights.items():
        if not use.readers or use.otherwise or parameters[name].dim() != 2:
            continue
        owner, _, last = name.rpartition(".")
        in_place = last == "weight" and type(network.get_submodule(owner)) is nn.Linear
        yield LinearSite(name, owner if in_place else f"{name}_linear", tuple(use.readers))


def _kept(network: nn.Module, found: Pass, linears: Mapping[str, LinearSite]) -> dict[str, str]:
    """Return the layers that are left in full precision whatever the bits are, and why."""
    keep = {}
    parameters = {site.parameter for site in linears.values()}
    for name, module in network.named_modules():
        if not isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d)):
            continue
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            keep[name] = "depth-wise convolution"
        elif f"{name}.weight".lstrip(".") in parameters:
            continue
        elif plain_type(module) not in (nn.Linear, nn.Conv2d) or getattr(module, "padding_mode", "zeros") != "zeros":
            keep[name] = f"no rule for {plain_type(module).__name__}"
        elif name not in found.layers:
            keep[name] = "not called: unused, or its weight is read by code around it"
        else:
            keep[name] = _too_little(found.layers[name])
    for site in linears.values():
        uses = [found.weights[site.parameter], *(found.layers[n] for n in (site.layer,) if n in found.layers)]
        keep[site.layer] = _too_little(Use(any(use.data for use in uses), sum(use.vectors for use in uses)))
    return {name: why for name, why in keep.items() if why}


def _too_little(use: Use) -> str:
    """Return why what a layer is given is not worth quantizing; nothing if it is."""
    if not use.data:
        return "its input is the same for every picture, as of a position bias"
    return "one vector a picture (channel attention)" if use.vectors == 1 else ""
