"""`discover`: find the products, linear weights and layers of an unknown network that `convert` should quantize.

The network runs on two small images (`tracing.probe`). Rules classify its products:

    a product whose result reaches a softmax                is q k^T
    a product that reads the result of a softmax            is map · v
    another product of two tensors that depend on the image has the operands `left` and `right`
    a product with a learned matrix                         stays in full precision

An axis whose length changes with the image cannot have a fixed transform.
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
from compsrt_plugin.quant.tracing.probe import DATA, LAYER, MAP, Call, ForwardPass, Use, record_forward
from compsrt_plugin.quant.tracing.products import SDPA, Axes


@dataclass(frozen=True)
class Discovery:
    """What `convert` needs to know about a foreign network.

    Attributes:
        sites: name of each module with products in its own code -> the products, in order.
        linears: weights that code passes to `F.linear`, by the name of the layer that will hold each.
        keep: name of each layer that the rules keep in full precision -> the reason.
        trunk: names of the 1x1 convolutions that belong to a trunk and are no linear layers (`tracing.trunk`).
        left_alone: products that are not quantized, as `module: reason`.
    """

    sites: Mapping[str, tuple[Site, ...]]
    linears: Mapping[str, LinearSite]
    keep: Mapping[str, str]
    trunk: frozenset[str]
    left_alone: Sequence[str]


def discover(network: nn.Module, images: Sequence[Tensor]) -> Discovery:
    """Run an unconverted network on images of two sizes and return what it multiplies.

    Args:
        network: any module whose input is one tensor.
        images: two inputs that differ in height and width.

    Raises:
        CompSRTError: an image is not a tensor, the products depend on the size of the image, or the network is
            converted already.
    """
    refuse_converted(network)
    for image in images:
        if not isinstance(image, Tensor):
            raise CompSRTError(
                f"an image has the type {type(image).__name__}",
                allowed="tensors, for a network whose input is one tensor",
                hint="wrap other networks in a module whose forward takes one tensor",
            )
    first = record_forward(network, images[0])
    second = record_forward(network, images[1]) if first.calls else first  # the second pass is about products only
    same = [(call.module, call.index) for call in first.calls] == [(call.module, call.index) for call in second.calls]
    if not same:
        raise CompSRTError(
            f"{type(network).__name__} computes {len(first.calls)} products for one image size and "
            f"{len(second.calls)} for another",
            hint="write an adapter for its attention: see docs/your_own_network.md",
        )
    sites: dict[str, list[Site]] = defaultdict(list)
    left_alone = []
    numbers: Counter[tuple[str, str]] = Counter()
    for one, other in zip(first.calls, second.calls):
        if one.index < len(sites[one.module]):
            continue  # the module has run before
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
    """Return the role of a product: `qk`, `mapv` or `other`."""
    if any(MAP in marks for marks in call.marks[:2]):
        return "mapv"
    return "qk" if call.to_softmax else "other"


def _why_not(call: Call) -> str | None:
    """Return why a product stays in full precision, or None if it is quantized."""
    if isinstance(call.axes, str):
        return call.axes
    if not all({DATA, LAYER} & marks for marks in call.marks):
        return "a product with a learned matrix"
    if role(call) == "other" and not all(DATA in marks for marks in call.marks):
        return "a product with a tensor that is the same for every image"
    return None


def _site(one: Call, other: Call, numbers: Counter[tuple[str, str]]) -> Site:
    """Return the site of a product; operands of the second and later groups of a module are named after their group."""
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
        summed = one.axes.contracted[side]
        over_image = kind != "mapv" and one.shapes[side][summed] != other.shapes[side][summed]
        choices: list[tuple[int, bool]] = [(summed, True)]
        free = one.axes.free[side]
        if free is not None:
            # v is transformed along the channels of a head: along tokens, its mean would dominate the range.
            choices.insert(0 if name == "v" else 1, (free, False))
        for axis, contracted in choices:
            if one.shapes[side][axis] == other.shapes[side][axis] <= MOST_TRANSFORMED:
                to_one = one.sums_to_one == side
                found.append(TracedOperand(f"{prefix}{name}", axis, contracted, True, to_one, over_image))
                break
        else:
            found.append(TracedOperand(f"{prefix}{name}", -1, False, fixed=False))
    return Site(_kind(one, other), (found[0], found[1]))


def _kind(one: Call, other: Call) -> Kind:
    return one.kind.with_other_image(other.kind)


def _linears(network: nn.Module, found: ForwardPass) -> Iterator[LinearSite]:
    """Yield the weights that code passes to `F.linear` and uses for nothing else."""
    parameters = dict(network.named_parameters())
    for name, use in found.weights.items():
        if not use.readers or use.otherwise or parameters[name].dim() != 2:
            continue
        owner, _, last = name.rpartition(".")
        in_place = last == "weight" and type(network.get_submodule(owner)) is nn.Linear
        yield LinearSite(name, owner if in_place else f"{name}_linear", tuple(use.readers))


def _kept(network: nn.Module, found: ForwardPass, linears: Mapping[str, LinearSite]) -> dict[str, str]:
    """Return the layers that stay in full precision whatever the bits are, with the reason."""
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
            keep[name] = "not called: unused, or its weight is read by enclosing code"
        else:
            keep[name] = _too_little(found.layers[name])
    for site in linears.values():
        uses = [found.weights[site.parameter], *(found.layers[n] for n in (site.layer,) if n in found.layers)]
        keep[site.layer] = _too_little(Use(any(use.data for use in uses), sum(use.vectors for use in uses)))
    return {name: why for name, why in keep.items() if why}


def _too_little(use: Use) -> str:
    """Return why the input of a layer is not worth quantizing, or an empty text if it is."""
    if not use.data:
        return "its input is the same for every image, as in a position bias"
    return "one vector per image (channel attention)" if use.vectors == 1 else ""
