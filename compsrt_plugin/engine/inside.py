"""`Inside`: integer operators in the place of simulated ones, within a network's own code."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from compsrt_plugin.engine.held import Held, Scores, computed, factors_of, follow, holds
from compsrt_plugin.engine.layer_runs import FLOATS, INTEGERS, NO_SUM, PYTORCH, LayerRun
from compsrt_plugin.engine.operators import Described, Operators, describe_layer, why_not_attention
from compsrt_plugin.engine.score_tables import KeptTable, kept_table
from compsrt_plugin.native import structures as c
from compsrt_plugin.quant import Mode, Quantizer, QuantLinear
from compsrt_plugin.quant.matmul import product
from compsrt_plugin.quant.tracing.classes import Derivation, derives_classes
from compsrt_plugin.quant.tracing.interception import Intercepting, Interception, Site, quantizers_of
from compsrt_plugin.quant.tracing.products import EINSUM, MATMULS, PRODUCTS, operands


@dataclass
class Part:
    """A module whose work the integer operators do, or do not.

    Attributes:
        name: of the module.
        kind: `linear` or `attention`.
        why_not: why PyTorch does it; empty if the operators do.
    """

    name: str
    kind: str
    why_not: str = ""


@dataclass
class _Attention:
    """What attention in one module needs, described at its first call."""

    operators: Operators
    part: Part
    described: dict[tuple[Any, ...], Described] = field(default_factory=dict)
    tables: dict[tuple[int, int], KeptTable] = field(default_factory=dict)


class Inside:
    """A frozen network whose linear layers and attention run in integers, its own code doing everything else.

    Within `with Inside(...):` the network is the fast one. With gradients, on another device, or in another dtype than
    float32 it runs as it did. Contexts of several threads wait for each other.

    Args:
        network: frozen, with its quantizers on.
        operators: that do the work.

    Attributes:
        parts: what runs in integers, and what does not. Of attention that is known after a forward pass.
        attention: by name of the module, what its attention needs.
        linear: by name of the layer, how the operators know it.
    """

    def __init__(self, network: nn.Module, operators: Operators) -> None:
        self.parts: list[Part] = []
        self.attention: dict[str, _Attention] = {}
        self.linear: dict[str, c.Linear] = {}
        self._swapped: list[tuple[nn.Module, type, type, Any]] = []
        self._lock = threading.Lock()
        for name, module in network.named_modules():
            kind = _kind(module)
            if kind is None:
                continue
            part = Part(name, kind, _why_not(module) if isinstance(module, QuantLinear) else "")
            self.parts.append(part)
            if part.why_not:
                continue
            if isinstance(module, QuantLinear):
                fast = _linear_in_integers(type(module))
                self.linear[name] = describe_layer(module, operators.level)
                self._swapped.append((module, type(module), fast, (operators, self.linear[name])))
            else:
                fast, self.attention[name] = _attention_in_integers(type(module)), _Attention(operators, part)
                self._swapped.append((module, type(module), fast, self.attention[name]))

    def runs(self) -> list[tuple[str, LayerRun]]:
        """Return how linear layers and attention run, by name of the module."""
        found = []
        for part in self.parts:
            fits = self._fit(part)
            run = LayerRun(part.name, PYTORCH, part.why_not) if part.why_not else LayerRun(part.name, INTEGERS)
            found.append((part.name, run if part.why_not or fits else LayerRun(part.name, FLOATS, NO_SUM)))
        return found

    def _fit(self, part: Part) -> bool:
        """Whether the products of a linear layer or attention are those of integers."""
        if part.kind == "linear":
            return bool(self.linear[part.name].integer) if part.name in self.linear else False
        described = self.attention[part.name].described.values()
        return bool(described) and all(one.integer_scores and one.integer_map for one in described)

    def __enter__(self) -> Inside:
        self._lock.acquire()
        for module, _, fast, needed in self._swapped:  # not kept in the module, which may be copied or pickled
            module.__dict__["in_integers"] = needed
            module.__class__ = fast  # pyright: ignore[reportAttributeAccessIssue]
        return self

    def __exit__(self, *exception: object) -> None:
        for module, slow, _, _ in self._swapped:
            module.__dict__.pop("in_integers", None)
            module.__class__ = slow  # pyright: ignore[reportAttributeAccessIssue]
        self._lock.release()


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, QuantLinear):
        return "linear"
    return "attention" if isinstance(module, Intercepting) and _pairs(module.sites) else None


def _pairs(sites: Sequence[Site]) -> bool:
    return any(_of_scores(one) and _of_values(other) for one, other in pairwise(sites))


def _why_not(layer: QuantLinear) -> str:
    quantizers = (layer.input_quantizer, layer.weight_quantizer)
    if not layer.frozen:
        return "not frozen"
    if any(quantizer.mode is not Mode.ON for quantizer in quantizers):
        return "a quantizer is off"
    if any(quantizer.spec.codes != "strict" for quantizer in quantizers):
        return "codes: paper"
    if layer.input_quantizer.domain.compiled is None:
        return f"transform: {layer.input_quantizer.spec.transform}"
    return ""


def _runs(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype is torch.float32 and not (torch.is_grad_enabled() and x.requires_grad)


class _LinearInIntegers(QuantLinear):
    in_integers: tuple[Operators, c.Linear]

    def _quantized(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        if not _runs(x) or self.input_quantizer.codes_seen is not None:
            return super()._quantized(x, bias)
        operators, described = self.in_integers
        y = operators.linear(described, x)
        return y if bias is self.bias else y + _difference(bias, self.bias)


def _difference(bias: Tensor | None, own: Tensor | None) -> Tensor:
    return cast(Tensor, (0 if bias is None else bias) - (0 if own is None else own))


class _AttentionInIntegers(Intercepting):
    in_integers: _Attention

    @torch.compiler.disable  # scores that are held back are no tensors
    def forward(self, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(*args, **kwargs)

    def interception(self) -> Interception:
        return _Holding(self)


@derives_classes
def _linear_in_integers(_module_class: type[nn.Module]) -> Derivation:
    return (_LinearInIntegers,), {}


@derives_classes
def _attention_in_integers(_module_class: type[nn.Module]) -> Derivation:
    return (_AttentionInIntegers,), {}


class _Holding(Interception):
    """Defer scores until it is known how the code uses them."""

    module: _AttentionInIntegers  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, module: _AttentionInIntegers) -> None:
        super().__init__(module)
        self.pending: list[Scores] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _changes_in_place(func, args):  # perhaps what scores that are held back depend on
            for scores in self.pending:
                scores.values()
            self.pending.clear()
        if not holds((*args, *kwargs.values())):
            return super().__torch_function__(func, types, args, kwargs)
        getter = getattr(func, "__name__", "") in ("__get__", "dim", "size", "numel", "ndimension", "is_floating_point")
        if getter:
            return func(*args, **kwargs)
        found = follow(func, args, kwargs)
        if found is not None:
            self.pending.append(found.scores)
            return found
        left = operands(func, args, kwargs)[0] if func in PRODUCTS else None
        if isinstance(left, Held) and left.scores.softmax and not left.scores.known:
            return self.map_product(func, args, kwargs, left)
        args, kwargs = computed(args), computed(kwargs)
        return super().__torch_function__(func, types, args, kwargs)

    def quantized(
        self,
        site: Site,
        quantizers: Sequence[Quantizer | None],
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Hold q kᵀ back; compute anything else."""
        if _of_scores(site) and not torch.is_grad_enabled():
            found = _queries_and_keys(func, args, kwargs)
            counted = any(x is not None and x.codes_seen is not None for x in quantizers)
            if found is not None and not counted and _attend(*found):
                q, k = found
                scores = Scores(q, k, lambda: product(q, k, *quantizers))
                self.pending = [scores]
                return Held(scores, (*q.shape[:-1], k.shape[-2]))
        return super().quantized(site, quantizers, func, args, kwargs)

    def map_product(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], held: Held) -> Any:
        """Return map · v, all of attention at once if the operators can."""
        v = _values(func, args, kwargs)
        site = self.module.sites[self.count] if self.count < len(self.module.sites) else None
        attention, scores = self.module.in_integers, held.scores
        leading = scores.q.shape[:-2]
        fits = (
            v is not None
            and site is not None
            and _of_values(site)
            and not isinstance(v, Held)
            and _runs(v)
            and v.shape == scores.k.shape
            and held.shape[:-2] == leading
        )
        if not fits:
            return super().__torch_function__(func, (), computed(args), computed(kwargs))
        assert site is not None
        of_scores = quantizers_of(self.module, self.module.sites[self.count - 1])
        of_map, of_v = quantizers_of(self.module, site)
        quantizers = (*of_scores, of_v, of_map)
        why = why_not_attention(quantizers, (held.shape[-2], held.shape[-1]))
        if why or any(x is not None and (x.mode is not Mode.ON or x.codes_seen is not None) for x in quantizers):
            attention.part.why_not = why or "a quantizer is off"
            return super().__torch_function__(func, (), computed(args), computed(kwargs))
        self.expect(func, args, kwargs)
        return self.run(attention, quantizers, scores, cast(Tensor, v))

    def run(self, attention: _Attention, quantizers: tuple[Quantizer | None, ...], scores: Scores, v: Tensor) -> Tensor:
        """Run the operator."""
        (queries, channels), keys = scores.q.shape[-2:], scores.k.shape[-2]
        key = (self.count, queries, keys, channels, scores.scale)
        described = attention.described.get(key)
        if described is None:
            described = Described(quantizers, channels, queries, keys, attention.operators.level, scores.scale)
            attention.described[key] = described
        tables = [
            kept_table(attention.tables, (self.count, number), table, factor, leading, described.lanes)
            for number, (table, factor, leading) in enumerate(scores.tables)
        ]
        return attention.operators.attention(described, scores.q, scores.k, v, tables, factors_of(scores))


def _attend(q: Tensor, k: Tensor) -> bool:
    """Whether these are operands of attention, head by head and window by window, that the operators can read."""
    alike = q.ndim > 2 and (*q.shape[:-2], q.shape[-1]) == (*k.shape[:-2], k.shape[-1])
    return alike and _runs(q) and _runs(k)


def _queries_and_keys(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """Return the operands of q kᵀ, (..., queries, channels) and (..., keys, channels); None of another product."""
    left, right = operands(func, args, kwargs)
    if func in MATMULS:
        return left, right.transpose(-2, -1)
    return (left, right) if func is EINSUM and _letters(args[0]) == "ab,cb->ac" else None


def _values(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return v of map · v, (..., keys, channels); None of another product."""
    if func not in MATMULS and not (func is EINSUM and _letters(args[0]) == "ab,bc->ac"):
        return None
    right = operands(func, args, kwargs)[1]
    return right if isinstance(right, Tensor) else None


def _letters(equation: Any) -> str:
    """Return an einsum of matrices with letters by order of appearance, without the leading ones that all have."""
    left, _, result = str(equation).replace(" ", "").partition("->")
    parts = [*left.split(","), result]
    if any(part[:-2] != result[:-2] for part in parts):
        return ""
    names = dict(zip(dict.fromkeys("".join(part[-2:] for part in parts)), "abcdef"))
    *inputs, result = ("".join(names[letter] for letter in part[-2:]) for part in parts)
    return f"{','.join(inputs)}->{result}"


def _of_scores(site: Site) -> bool:
    """Whether a product is q kᵀ whose operands are transformed along channels: tokens attend to tokens."""
    if len(site.operands) != 2 or not site.operands[0].name.endswith("q"):
        return False
    q, k = site.operands
    return q.contracted and k.contracted and q.axis == -1


def _of_values(site: Site) -> bool:
    """Whether a product is map · v, the map transformed along keys and v along channels."""
    if len(site.operands) != 2:
        return False
    map_, v = site.operands
    return map_.contracted and map_.axis == -1 and not v.contracted and v.axis == -1


def _changes_in_place(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether a function changes a tensor, its first argument by torch's convention, other than scores held back."""
    name = getattr(func, "__name__", "")
    if args and isinstance(args[0], Held):
        return False
    if name.startswith("__"):
        return name == "__setitem__" or (name.startswith("__i") and name != "__invert__" and name != "__index__")
    return name.endswith("_")
