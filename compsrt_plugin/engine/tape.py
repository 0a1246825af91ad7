"""`Tape`: the operations of one forward pass, recorded without computing anything that depends on the image.

A `Traced` tensor stands for one that depends on the image. It has a shape and a place in memory, but no values. What
the network computes from its parameters alone, such as a table of position biases, is computed while the tape is
recorded and is a constant of it. Views cost nothing: a traced tensor is a buffer with sizes, strides and an offset.

Changes in place become new buffers: a change of a part is computed by itself and put into a copy of the rest. Code that
depends on values, or that writes what depends on the image into a tensor that does not, cannot be recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from compsrt_plugin.engine.steps import Buffer, Spot, Step

aten = torch.ops.aten


class NotRecordable(Exception):
    """The code of the network cannot be recorded; the message gives the reason."""


@dataclass
class Tape:
    """What was recorded.

    Attributes:
        steps: in order.
        input, output: of the network.
        constants: the tensors that do not depend on the image, by identity, with a hash of what they held.
        modules: names of the modules whose forward pass runs now, the innermost last.
    """

    steps: list[Step] = field(default_factory=list)
    input: Spot | None = None
    output: Spot | None = None
    constants: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    _now: dict[Buffer, Buffer] = field(default_factory=dict)
    _results: dict[Any, Any] = field(default_factory=dict)
    _count: int = 0

    def buffer(self, size: int, dtype: torch.dtype) -> Buffer:
        """Return a new buffer."""
        self._count += 1
        return Buffer(self._count, size, dtype)

    def spot(self, traced: Traced) -> Spot:
        """Return where a tensor is now."""
        buffer = traced.buffer
        while buffer in self._now:
            buffer = self._now[buffer]
        return Spot(buffer, tuple(traced.shape), traced.stride(), int(traced.storage_offset()))

    def new(self, like: Tensor) -> Traced:
        """Return a tensor of this shape, strides and dtype in a buffer of its own."""
        size = 1 + sum((n - 1) * stride for n, stride in zip(like.shape, like.stride())) if like.numel() else 0
        return Traced(self, self.buffer(size, like.dtype), like)

    def own(self, function: Callable[..., Any], args: tuple[Any, ...], like: Tensor) -> Traced:
        """Record an operator of ours, called with these arguments, that returns a tensor of this shape and layout."""
        made = self.new(like)
        self._record(function, args, {}, made)
        return made

    def dispatched(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record an ATen operator and return what stands for its result."""
        if _is_constant(func, args):
            return _constant(func, args, kwargs)
        if func in _LIKE and not isinstance(args[0], Traced):  # of a constant: only shape or dtype are asked for
            return _LIKE[func](args[0], args[1].meta)
        schema = func._schema
        writes = [a for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        given = {**dict(zip((a.name for a in schema.arguments), args)), **kwargs}
        if writes:
            return self._written(func, args, kwargs, [given[a.name] for a in writes if a.name in given])
        aliases = any(a.alias_info is not None for a in schema.arguments)
        made = _on_meta(func, args, kwargs) if aliases else self._known(func, args, kwargs)
        if aliases:
            base = args[0]
            if not isinstance(made, Tensor) or torch._C._is_alias_of(made, _meta(base)):  # pyright: ignore[reportAttributeAccessIssue]
                return self._viewed(func, args, made)
        if isinstance(made, Tensor):
            out = self.new(made)
            self._record(func, args, kwargs, out)
            return out
        if not isinstance(made, (tuple, list)) or any(x is not None and not isinstance(x, Tensor) for x in made):
            raise NotRecordable(f"its code depends on values: {func}")
        outs = [None if x is None else self.new(x) for x in made]
        self._record(func, args, kwargs, *outs, single=False)
        return type(made)(outs)

    def _known(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result on the meta device, computed once for all layers that are alike."""
        key = func, _described(args), _described(kwargs)
        if key not in self._results:
            self._results[key] = _on_meta(func, args, kwargs)
        return self._results[key]

    def _record(self, func: Any, args: Any, kwargs: Any, *outs: Traced | None, single: bool = True) -> None:
        given = self._given(args, kwargs)
        made = tuple(None if out is None else self.spot(out) for out in outs)
        self.steps.append(Step(func, *given, made, single, self._module()))

    def _module(self) -> str:
        return self.modules[-1] if self.modules else ""

    def _given(self, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments as they are now: spots in the place of traced tensors, constants remembered."""
        return self._leaf(tuple(args)), self._leaf(dict(kwargs))

    def _leaf(self, given: Any) -> Any:
        if isinstance(given, Traced):
            return self.spot(given)
        if isinstance(given, Tensor):
            if given.numel() and id(given) not in self.constants:
                self.constants[id(given)] = (given, torch.hash_tensor(given))
        elif isinstance(given, dict):
            return {name: self._leaf(item) for name, item in given.items()}
        elif isinstance(given, (tuple, list)):
            return type(given)(self._leaf(item) for item in given)
        return given

    def refuse_changed_constants(self) -> None:
        """Raise if the code changed a constant after it was used."""
        for constant, before in self.constants.values():
            if torch.hash_tensor(constant) != before:
                raise NotRecordable("it changes a tensor that it has used")

    def _viewed(self, func: Any, args: tuple[Any, ...], made: Any) -> Any:
        base = next(arg for arg in args if isinstance(arg, Tensor))
        if not isinstance(base, Traced):
            raise NotRecordable(f"{func} of a constant with an argument that depends on the image")
        if isinstance(made, Tensor):
            return self._view(base, made)
        return type(made)(self._view(base, x) for x in made)

    def _view(self, base: Traced, made: Tensor) -> Tensor:
        if not made.numel():  # it has no input
            return torch.empty(made.shape, dtype=made.dtype, device="cpu")
        return Traced(self, base.buffer, made)

    def _written(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], written: list[Any]) -> Any:
        name, overload = func._schema.name.partition("::")[2], func._overloadname
        functional = getattr(getattr(aten, name[:-1], None), overload or "default", None) if name[-1] == "_" else None
        if functional is None or len(written) != 1 or not isinstance(written[0], Traced):
            raise NotRecordable(f"it changes tensors in place: {func}")
        target = written[0]
        before = self.spot(target)
        after = self.buffer(before.buffer.size, target.dtype)
        if func is aten.copy_.default:
            self._put(before, args[1], after)
        else:
            like = _on_meta(functional, args, kwargs)
            if like.dtype is not target.dtype or like.shape != target.shape:
                raise NotRecordable(f"it changes tensors in place: {func}")
            if before.whole:
                given = self._given(args, kwargs)
                made = (Spot(after, before.shape, before.stride, 0),)
                self.steps.append(Step(functional, *given, made, module=self._module()))
            else:
                part = self.new(like)
                self._record(functional, args, kwargs, part)
                self._put(before, part, after)
        self._now[before.buffer] = after
        return target

    def _put(self, spot: Spot, part: Any, after: Buffer) -> None:
        """Record that a buffer is a copy of a spot's, with something else at the spot."""
        whole = Spot(spot.buffer, (spot.buffer.size,), (1,), 0)
        given = (whole, self._leaf(part), spot.shape, spot.stride, spot.offset)
        made = (Spot(after, whole.shape, whole.stride, 0),)
        self.steps.append(Step(with_part, given, {}, made, module=self._module()))


def with_part(whole: Tensor, part: Tensor, shape: tuple[int, ...], stride: tuple[int, ...], offset: int) -> Tensor:
    """Return a copy of a tensor with something else at those places of its memory."""
    made = whole.clone()
    made.as_strided(shape, stride, offset).copy_(part)
    return made


class Traced(Tensor):
    """A tensor that depends on the image, without values."""

    tape: Tape
    buffer: Buffer
    meta: Tensor

    @staticmethod
    def __new__(cls, tape: Tape, buffer: Buffer, meta: Tensor) -> Traced:
        """Make one in a buffer, with the shape and strides of a tensor on the meta device."""
        made = Tensor._make_wrapper_subclass(
            cls,
            meta.shape,
            strides=meta.stride(),
            storage_offset=meta.storage_offset(),
            dtype=meta.dtype,
            device=torch.device("cpu"),
        )
        made.tape, made.buffer, made.meta = tape, buffer, meta
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        first = args[0] if args else None
        traced = first if isinstance(first, Traced) else _first((args, kwargs))
        assert traced is not None
        tape = traced.tape
        return tape.dispatched(func, args, kwargs or {})


def _first(given: Any) -> Traced | None:
    """Return the first traced tensor of nested arguments."""
    if isinstance(given, Traced):
        return given
    items = given.values() if isinstance(given, dict) else given if isinstance(given, (tuple, list)) else ()
    return next((found for item in items if (found := _first(item)) is not None), None)


_CONSTANTS = {
    aten.zeros_like.default: 0.0,
    aten.ones_like.default: 1.0,
    aten.new_zeros.default: 0.0,
    aten.new_ones.default: 1.0,
}
_LIKE: dict[Any, Callable[[Tensor, Tensor], Tensor]] = {
    aten.type_as.default: lambda x, other: x.to(other.dtype),
    aten.to.other: lambda x, other: x.to(other.dtype),
    aten.expand_as.default: lambda x, other: x.expand(other.shape),
    aten.view_as.default: lambda x, other: x.view(other.shape),
    aten.reshape_as.default: lambda x, other: x.reshape(other.shape),
}
_NO_VALUES = (aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default, aten.item.default)


def _is_constant(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether an operator makes a constant tensor: integers like those of the image are written to by code."""
    if func not in _CONSTANTS:
        return False
    like, *size = args
    return bool(size) or like.is_floating_point()


def _constant(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    like, *size = args
    shape = size[0] if size else like.shape
    dtype = kwargs.get("dtype") or like.dtype
    return torch.full(tuple(shape), _CONSTANTS[func], dtype=dtype, device="cpu")


def _on_meta(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the result of an operator on the meta device."""
    if func in _NO_VALUES:
        raise NotRecordable("its code depends on values of the image")
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": "meta"}
    try:
        return func(*_all_meta(args), **_all_meta(kwargs))
    except NotImplementedError as error:
        raise NotRecordable(f"{func} has no shape before it is computed") from error


def _described(given: Any) -> Any:
    """Return arguments as a key, with what decides over a result's shape and layout in the place of tensors."""
    if isinstance(given, Tensor):
        return Tensor, given.shape, given.stride(), given.dtype
    if isinstance(given, dict):
        return tuple((name, _described(item)) for name, item in given.items())
    if isinstance(given, (tuple, list)):
        return tuple(_described(item) for item in given)
    return type(given), given


def _all_meta(given: Any) -> Any:
    if isinstance(given, Tensor):
        return _meta(given)
    if isinstance(given, dict):
        return {name: _all_meta(item) for name, item in given.items()}
    if isinstance(given, (tuple, list)):
        return type(given)(_all_meta(item) for item in given)
    return given


def _meta(x: Tensor) -> Tensor:
    if isinstance(x, Traced):
        return x.meta
    if x.ndim == 0:
        return torch.empty((), dtype=x.dtype, device="meta")
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


def _left(modules: list[str]) -> None:
    modules.pop()


def record(network: nn.Module, x: Tensor) -> Tape:
    """Record the forward pass of images of x's shape.

    Raises:
        NotRecordable: the code of the network depends on values, or writes parts of tensors.
    """
    tape = Tape()
    traced = tape.new(torch.empty(x.shape, dtype=x.dtype, device="meta"))
    tape.input = tape.spot(traced)
    before = {module: dict(vars(module)) for module in network.modules()}
    names = {module: name for name, module in network.named_modules()}
    hooks = (
        register_module_forward_pre_hook(lambda module, _: tape.modules.append(names.get(module, ""))),
        register_module_forward_hook(lambda *_: _left(tape.modules), always_call=True),
    )
    try:
        y = network(traced)
    finally:
        for hook in hooks:
            hook.remove()
        # some networks store a tensor of their forward pass
        for module, attributes in before.items():
            for name in [name for name, kept in vars(module).items() if isinstance(kept, Traced)]:
                vars(module)[name] = attributes.get(name)
    if not isinstance(y, Traced):
        raise NotRecordable("its output is no tensor that depends on the image")
    tape.output = tape.spot(y)
    tape.refuse_changed_constants()
    return tape
