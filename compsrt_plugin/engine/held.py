"""Deferred attention scores: they are computed only when it is known how the code uses them.

Foreign code computes attention step by step: a product, a scale, a bias, a mask, a softmax, a product. `Held` is the
result of a step before the last. It has a shape and a record of the steps, but no values. If an operation needs values,
they are computed as in the simulated network, so code that does something else still works.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from compsrt_plugin.engine.tape import Traced

MOST_TABLES = 2


@dataclass(frozen=True)
class Scores:
    """What was done to q kᵀ so far.

    Attributes:
        q, k: (..., queries or keys, head_dim).
        compute: returns the values, in PyTorch, of those of `before`; q kᵀ of the quantized operands if there are none.
        before: the scores that this was made from; None for q kᵀ itself.
        scale: factor of q kᵀ.
        factors: others, as (tensor, leading shape of the scores then).
        tables: what was added, as (tensor, factor, leading shape of the scores then).
        softmax: whether it is the map already.
    """

    q: Tensor
    k: Tensor
    compute: Callable[..., Tensor]
    before: Scores | None = None
    scale: float = 1.0
    factors: tuple[tuple[Tensor, tuple[int, ...]], ...] = ()
    tables: tuple[tuple[Tensor, float, tuple[int, ...]], ...] = ()
    softmax: bool = False
    cache: list[Tensor] = field(default_factory=list, compare=False)

    def values(self) -> Tensor:
        """Return the values of the scores, or of the map, as the simulated network computes them."""
        if not self.cache:
            with torch._C.DisableTorchFunction():  # these are no products of the module that wants the values
                self.cache.append(self.compute() if self.before is None else self.compute(self.before.values()))
        return self.cache[0]

    @property
    def known(self) -> bool:
        """Whether values were computed on the way here; code may have changed them in place since."""
        return bool(self.cache) or (self.before is not None and self.before.known)


class Held(Tensor):
    """Scores without values; any operation that `follow` does not know computes them.

    Attributes:
        scores: what was done so far.
        same_memory: this one and others that would lie in the same memory, views of each other.
    """

    scores: Scores
    same_memory: list[weakref.ref[Held]]

    @staticmethod
    def __new__(cls, scores: Scores, shape: Sequence[int], view_of: Held | None = None) -> Held:
        """Make one of this shape, with the device and dtype of q."""
        made = Tensor._make_wrapper_subclass(cls, tuple(shape), dtype=scores.q.dtype, device=scores.q.device)
        made.scores = scores
        made.same_memory = [] if view_of is None else view_of.same_memory
        made.same_memory.append(weakref.ref(made))
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return func(*computed(args), **computed(kwargs or {}))


def computed(values: Any) -> Any:
    """Return values, nested or not, with tensors in the place of what is held."""
    return tree_map_only(Held, lambda held: held.scores.values(), values)


def holds(values: Sequence[Any]) -> bool:
    """Whether one of the arguments of a call is held."""
    return any(isinstance(value, Held) for value in values)


def follow(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Held | None:
    """Return the result of a call with a `Held` argument if it can be deferred too, else None.

    Deferred are factors, sums with a bias or a mask, changes of the leading axes, the softmax over keys, and calls
    without effect; in-place operations too, unless a view of the scores is in use.
    """
    name = getattr(func, "__name__", "")
    if name in _IN_PLACE:
        return _changed(_IN_PLACE[name], args, kwargs)
    step = _STEPS.get(name)
    if step is None:
        return None
    at = next((number for number, value in enumerate(args) if isinstance(value, Held)), None)
    if at is None or (at and name not in _COMMUTE):
        return None
    held: Held = args[at]
    if held.scores.known:
        return None
    before, after = args[:at], args[at + 1 :]
    found = step(held, (*before, *after), kwargs)
    if found is None:
        return None
    scores, shape = found
    if scores is held.scores and tuple(shape) == tuple(held.shape):
        return held

    def compute(y: Tensor) -> Tensor:
        return func(*before, y, *after, **kwargs)

    view = held if name in _VIEWS else None
    return Held(replace(scores, compute=compute, before=held.scores, cache=[]), shape, view)


def _changed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Held | None:
    """Apply `func` to scores in place and return them."""
    held = args[0]
    alone = isinstance(held, Held) and sum(other() is not None for other in held.same_memory) == 1
    made = follow(func, args, kwargs) if alone else None
    if made is None or made.shape != held.shape:
        return None
    held.scores = made.scores
    return held


Step = Callable[[Held, tuple[Any, ...], dict[str, Any]], "tuple[Scores, Sequence[int]] | None"]


def _times(held: Held, others: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Scores, Sequence[int]] | None:
    factor, scores = others[0] if len(others) == 1 else None, held.scores
    if isinstance(factor, Tensor):
        return _times_tensor(held, factor, kwargs)
    if scores.softmax or kwargs or not isinstance(factor, (int, float)) or isinstance(factor, bool):
        return None
    tables = tuple((table, by * factor, leading) for table, by, leading in scores.tables)
    return replace(scores, scale=scores.scale * factor, tables=tables), held.shape


def _times_tensor(held: Held, factor: Tensor, kwargs: dict[str, Any]) -> tuple[Scores, Sequence[int]] | None:
    """Take a factor for each problem, such as the temperature of a head."""
    scores = held.scores
    if scores.softmax or scores.tables or kwargs or not _is_constant(factor, held):
        return None
    if factor.numel() != 1 and factor.shape[-2:] != (1, 1):
        return None
    if torch.broadcast_shapes(factor.shape, held.shape) != held.shape:
        return None
    return replace(scores, factors=(*scores.factors, (factor, tuple(held.shape[:-2])))), held.shape


def _is_constant(x: Tensor, held: Held) -> bool:
    """Whether a tensor of the scores' kind has values, as those that depend on the image lack when it is recorded."""
    return not isinstance(x, (Held, Traced)) and x.dtype is held.dtype and x.device == held.device


def _over(held: Held, others: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Scores, Sequence[int]] | None:
    divisor = others[0] if len(others) == 1 else None
    if not isinstance(divisor, (int, float)) or isinstance(divisor, bool) or not divisor:
        return None
    return _times(held, (1 / divisor,), kwargs)


def _plus(held: Held, others: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Scores, Sequence[int]] | None:
    table, scores = others[0] if len(others) == 1 else None, held.scores
    if scores.softmax or kwargs or not isinstance(table, Tensor) or len(scores.tables) == MOST_TABLES:
        return None
    if not _is_constant(table, held):
        return None
    if table.shape[-2:] != held.shape[-2:] or torch.broadcast_shapes(table.shape, held.shape) != held.shape:
        return None
    return replace(scores, tables=(*scores.tables, (table, 1.0, tuple(held.shape[:-2])))), held.shape


def _other_shape(held: Held, others: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Scores, Sequence[int]] | None:
    wanted = others[0] if len(others) == 1 and not isinstance(others[0], int) else others
    if kwargs or isinstance(wanted, torch.dtype) or len(wanted) < 2:
        return None
    shape = torch.empty(held.shape, dtype=held.dtype, device="meta").view(*wanted).shape
    return (held.scores, shape) if shape[-2:] == held.shape[-2:] else None


def _unsqueezed(held: Held, others: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Scores, Sequence[int]] | None:
    shape = torch.empty(held.shape, dtype=held.dtype, device="meta").unsqueeze(*others, **kwargs).shape
    return (held.scores, shape) if shape[-2:] == held.shape[-2:] else None


def _softmax(held: Held, others: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Scores, Sequence[int]] | None:
    dim = others[0] if others else kwargs.get("dim")
    if (
        held.scores.softmax
        or dim not in (-1, held.ndim - 1)
        or kwargs.get("dtype", held.dtype) not in (held.dtype, None)
    ):
        return None
    return replace(held.scores, softmax=True), held.shape


def _dropout(held: Held, others: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Scores, Sequence[int]] | None:
    training = kwargs.get("training", others[1] if len(others) > 1 else True)
    p = kwargs.get("p", others[0] if others else 0.5)
    return None if training and p else (held.scores, held.shape)


def _nothing(held: Held, others: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Scores, Sequence[int]] | None:
    same = all(value is held.dtype or value == held.device for value in (*others, *kwargs.values()))
    return (held.scores, held.shape) if same else None


_IN_PLACE: dict[str, Any] = {
    **dict.fromkeys(("__iadd__", "add_"), torch.add),
    **dict.fromkeys(("__imul__", "mul_"), torch.mul),
}
_VIEWS = frozenset(("view", "reshape", "unsqueeze"))
_COMMUTE = frozenset(("add", "mul", "__add__", "__radd__", "__mul__", "__rmul__"))
_STEPS: dict[str, Step] = {
    **dict.fromkeys(("mul", "__mul__", "__rmul__"), _times),
    **dict.fromkeys(("div", "__truediv__", "true_divide"), _over),
    **dict.fromkeys(("add", "__add__", "__radd__"), _plus),
    **dict.fromkeys(("view", "reshape"), _other_shape),
    "unsqueeze": _unsqueezed,
    "softmax": _softmax,
    "dropout": _dropout,
    **dict.fromkeys(("contiguous", "to", "float", "type_as"), _nothing),
}


def factors_of(scores: Scores) -> Tensor | None:
    """Return the factor of each problem, float32 (problems,), or None."""
    found = None
    for factor, leading in scores.factors:
        own = factor.reshape(factor.shape[:-2] if factor.ndim > 1 else ()).expand(leading).reshape(-1)
        found = own.contiguous() if found is None else found * own
    return found
