"""Interception: quantize products in the code of foreign modules, such as `q @ k^T`.

A module whose own code multiplies activations becomes an `Intercepting` one. Within its forward pass a
`TorchFunctionMode` counts every product and quantizes the operands of those that `discover` has found. The quantizers
are children of the module, so state dicts, overrides, files and counts find them by name: `….attn.q`, `….attn.k`,
`….attn.map`, `….attn.v`. While all of them are off, the code of the module runs unchanged.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode

from compsrt_plugin.quant.matmul import any_on, product, share_domain, weighted_sum
from compsrt_plugin.quant.precision import in_full_precision
from compsrt_plugin.quant.quantizer import Mode, Quantizer
from compsrt_plugin.quant.spec import NetworkSpec, QuantSpec
from compsrt_plugin.quant.tracing.classes import Derivation, derives_classes
from compsrt_plugin.quant.tracing.identity import (
    Kind,
    distinguishable,
    kind_of,
    refuse_recomputed,
    wrong_kind,
    wrong_number,
)
from compsrt_plugin.quant.tracing.products import MATMULS, PRODUCTS, call_with, operands
from compsrt_plugin.quant.transforms import TRANSFORMS

MOST_TRANSFORMED = 4096
"""Length of the longest axis that is transformed; its matrix takes 64 MiB."""


@dataclasses.dataclass(frozen=True)
class TracedOperand:
    """One operand of a product in foreign code.

    Attributes:
        name: name of its quantizer: `q`, `k`, `map`, `v`, `left` or `right`, after the name of a group if there is one.
        axis: axis of the transform, negative.
        contracted: whether the product sums over that axis.
        fixed: whether the axis has the same length for every image; if not, the operand is not transformed.
        sums_to_one: whether the rows along that axis sum to 1, as those of a softmax map do.
        over_image: whether the product sums over an axis whose length depends on the size of the image.
    """

    name: str
    axis: int
    contracted: bool
    fixed: bool
    sums_to_one: bool = False
    over_image: bool = False

    def spec_for(self, chosen: QuantSpec, image_sums: str) -> QuantSpec:
        """Return the chosen spec without what this operand cannot have, such as a transform along a variable axis.

        Args:
            chosen: by recipe and overrides.
            image_sums: of the `NetworkSpec`.
        """
        transform = chosen.transform
        if not self.fixed:
            transform = "none"
        elif TRANSFORMS[transform].unit_rows and not (self.sums_to_one and self.contracted):
            transform = "hadamard"
        if not self.contracted and not (self.over_image and image_sums == "per_token"):
            chosen = chosen.without_token_scale()
        return dataclasses.replace(chosen, transform=transform)


@dataclasses.dataclass(frozen=True)
class Site:
    """One product in the own code of a module.

    Attributes:
        kind: how it is recognized in a forward pass.
        operands: two, or four for attention (q, k, map, v); none if the product stays in full precision.
    """

    kind: Kind
    operands: tuple[TracedOperand, ...]


class Intercepting(nn.Module):
    """Base to put before the class of a module: its forward pass with intercepted products.

    Attributes:
        sites: the products in the own code of the module, in order.
    """

    sites: tuple[Site, ...]

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the forward pass of the module.

        Raises:
            CompSRTError: the code computes other products than at conversion, or computes them where the backward pass
                will repeat them without their quantizers.
        """
        idle = all(_is_off(quantizer) for site in self.sites for quantizer in quantizers_of(self, site))
        # Within an intercepting module, even an idle one must hide its products from the enclosing count.
        if idle and not isinstance(_get_current_function_mode(), Interception):
            return super().forward(*args, **kwargs)
        products = self.interception()
        seen = products.seen  # Dynamo does not read from a mode that it has left
        with products:
            output = super().forward(*args, **kwargs)
        if not idle and len(seen) < len(self.sites):
            raise wrong_number(self, f"{len(seen)} products, fewer", len(self.sites))
        return output

    def interception(self) -> Interception:
        """Return the mode that intercepts the products of one forward pass."""
        return Interception(self)


def intercept(module: nn.Module, name: str, sites: Sequence[Site], spec: NetworkSpec, like: Tensor | None) -> None:
    """Add quantizers, switched off, for the products in the own code of a module.

    Args:
        module: changed in place: `Intercepting` is put before its class.
        name: its dotted name.
        sites: its products, from `discover`.
        spec: spec of the network.
        like: a tensor with the device and dtype of the module; None: unknown.
    """
    for site in sites:
        for operand in site.operands:
            place = f"{name}.{operand.name}".lstrip(".")
            chosen = spec.resolve("activation", name, place)
            *groups, last = operand.name.split(".")
            host = module
            for group in groups:
                if not hasattr(host, group):
                    host.add_module(group, nn.Module())
                host = getattr(host, group)
            quantizer = None if chosen is None else Quantizer(operand.spec_for(chosen, spec.image_sums), like=like)
            setattr(host, f"{last}_quantizer", quantizer)
    kinds = distinguishable([site.kind for site in sites])
    module.__dict__["sites"] = tuple(dataclasses.replace(site, kind=kind) for site, kind in zip(sites, kinds))
    module.__class__ = _intercepting(type(module))


def quantizers_of(module: nn.Module, site: Site) -> list[Quantizer | None]:
    """Return the quantizers of the operands of a site; None for an operand in full precision."""
    found: list[Quantizer | None] = []
    for operand in site.operands:
        *groups, last = operand.name.split(".")
        host = module
        for group in groups:
            host = getattr(host, group)
        found.append(getattr(host, f"{last}_quantizer"))
    return found


def _is_off(quantizer: Quantizer | None) -> bool:
    return quantizer is None or quantizer.mode is Mode.OFF


@derives_classes
def _intercepting(_module_class: type[nn.Module]) -> Derivation:
    return (Intercepting,), {}


class Interception(TorchFunctionMode):
    """Intercept the products of one forward pass of one module.

    Attributes:
        seen: the sites of the products so far.
    """

    def __init__(self, module: Intercepting) -> None:
        super().__init__()
        self.module = module
        self.seen: list[Site] = []
        self.grad = torch.is_grad_enabled()

    @property
    def count(self) -> int:
        """Number of products so far."""
        return len(self.seen)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in PRODUCTS:
            return func(*args, **kwargs)
        # Hide these operations from an enclosing interception.
        with torch._C.DisableTorchFunction():
            site, quantizers = self.expect(func, args, kwargs)
            if all(_is_off(quantizer) for quantizer in quantizers):
                return func(*args, **kwargs)
            return self.quantized(site, quantizers, func, args, kwargs)

    def expect(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Site, list[Quantizer | None]]:
        """Return the site of the next product and its quantizers.

        Raises:
            CompSRTError: it is not the product that stood there at conversion.
        """
        if len(self.seen) == len(self.module.sites):
            raise wrong_number(self.module, "more", len(self.seen))
        site = self.module.sites[len(self.seen)]
        self.seen.append(site)
        quantizers = quantizers_of(self.module, site)
        if not all(_is_off(quantizer) for quantizer in quantizers):
            kind = kind_of(func, args, operands(func, args, kwargs), placed=bool(site.kind.place))
            if not site.kind.matches(kind):
                raise wrong_kind(self.module, len(self.seen) - 1, kind, site.kind)
            refuse_recomputed(f"{type(self.module).__name__} computes {kind}", self.grad)
        return site, quantizers

    def quantized(
        self,
        site: Site,
        quantizers: Sequence[Quantizer | None],
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Tensor:
        """Return the product of quantized operands."""
        if site.kind.attention:
            return _attention(quantizers, *args, **kwargs)
        return _product(site, quantizers, func, args, kwargs)


def _product(
    site: Site, quantizers: Sequence[Quantizer | None], func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Return a product of quantized operands; common forms use the products of our own layers."""
    (first, second), (left, right), (of_left, of_right) = site.operands, operands(func, args, kwargs), quantizers
    if func in MATMULS and left.shape[:-2] == right.shape[:-2] and first.axis == -1 and first.contracted:
        if second.contracted:
            return product(left, right.transpose(-2, -1), of_left, of_right)
        if second.axis == -1:
            return weighted_sum(left, right, of_left, of_right)
    together = first.contracted and second.contracted and share_domain(of_left, of_right)

    def compute(left: Tensor, right: Tensor) -> Tensor:
        quantized = []
        for operand, quantizer, x in zip(site.operands, quantizers, (left, right)):
            x = x.movedim(operand.axis, -1)
            if quantizer is not None:
                x = quantizer.quantize(quantizer.transform(x)) if together else quantizer(x)
            quantized.append(x.movedim(-1, operand.axis))
        return call_with(func, args, *quantized)

    if any_on(*quantizers):
        return in_full_precision(compute, left, right)
    return compute(left, right)


def _attention(
    quantizers: Sequence[Quantizer | None],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return `scaled_dot_product_attention` of quantized operands; q is quantized after scaling, as in CompSRT."""
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    of_q, of_k, of_map, of_v = quantizers
    scores = product(query * (scale or 1 / math.sqrt(query.shape[-1])), key, of_q, of_k)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        masked = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype is torch.bool else scores + attn_mask
        scores = masked
    weights = F.dropout(scores.softmax(-1), dropout_p)
    return weighted_sum(weights, value, of_map, of_v)
