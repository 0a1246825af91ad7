"""Split the time of a PyTorch network into stages.

torch's profiler gives the time of every operator without the operators that it calls. The name of an operator
determines its stage. The work of quantizers is marked and counts as `transform` or `quantize`, whatever operators it
uses. Where both are one compiled pass (`compsrt_plugin.native`), that pass is timed with and without the transform for
every shape, and its time is divided accordingly. The rest of the call, Python itself, is `other`.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile, record_function

from compsrt_plugin import native
from compsrt_plugin.ops import fake_quantize as operators
from compsrt_plugin.quant import TRANSFORMS, Quantizer, Transform

PROFILE_STAGES = (
    "transform",
    "quantize",
    "products",
    "softmax",
    "norm",
    "gelu",
    "conv",
    "copies",
    "elementwise",
    "other",
)
TORCH_OPERATORS = {
    "products": ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum"),
    "softmax": ("softmax",),
    "norm": ("norm",),
    "gelu": ("gelu", "relu", "silu"),
    "conv": ("conv",),
    "elementwise": ("add", "sub", "mul", "div", "sigmoid", "mean", "sum", "clamp", "round", "rsub", "pow", "sqrt"),
}
_PLAIN = {name: stage for stage, names in TORCH_OPERATORS.items() for name in names}
_MARK = "compsrt "  # begins the names of what we mark
_REPEATS = 3  # of a pass that is timed on its own

CompiledPass = tuple[tuple[int, ...], str, bool]
"""Shape of the operand, transform, whether it is taken back."""


def stage_times(network: nn.Module, x: Tensor) -> dict[str, float]:
    """Return seconds per stage of `PROFILE_STAGES` of one call of the network. They add up to the time of the call.

    Args:
        network: in eval mode.
        x: its input.
    """
    with torch.no_grad():
        shares = _transform_shares(network, x)
        with _marked_quantizers(), profile(use_kineto=False) as profiler:
            start = time.perf_counter()
            network(x)
            total = time.perf_counter() - start
    spent: dict[str, float] = defaultdict(float)
    events: Any = getattr(profiler, "function_events")  # noqa: B009  (typed as perhaps None)
    for event in events:
        own = event.self_cpu_time_total / 1e6
        mark = _mark_of(event)
        if mark is None:
            spent[torch_stage(event.name)] += own
        elif mark in ("transform", "quantize"):
            spent[mark] += own
        else:
            spent["transform"] += own * shares.get(mark, 0.0)
            spent["quantize"] += own * (1 - shares.get(mark, 0.0))
    known = {stage: spent[stage] for stage in PROFILE_STAGES[:-1]}
    return {**known, "other": max(0.0, total - sum(known.values()))}


def torch_stage(operator: str) -> str:
    """Return the stage of a torch operator. Operators that only move or make tensors are `copies`.

    >>> [torch_stage(f"aten::{name}") for name in ("addmm", "_softmax", "native_layer_norm", "copy_", "add_")]
    ['products', 'softmax', 'norm', 'copies', 'elementwise']
    """
    space, _, name = operator.partition("::")
    if not name:
        return "other"
    plain = name.strip("_")
    if plain in _PLAIN:
        return _PLAIN[plain]
    found = [stage for stage in ("conv", "norm", "softmax", "gelu") if stage in plain]
    return found[0] if found else "products" if "linear" in plain else "copies" if space == "aten" else "other"


MARKED: dict[Any, dict[str, str]] = {
    Transform: {"forward": "transform", "inverse": "transform"},
    Quantizer: {"quantize": "quantize"},
    operators: {"in_torch": "quantize"},
}
"""Class or module -> its functions that do the work of quantizers -> their stage; the innermost one counts."""


def _mark_of(event: Any) -> str | None:
    """Return the mark of an event or of its nearest marked parent."""
    while event is not None:
        if event.name.startswith(_MARK):
            return event.name.removeprefix(_MARK)
        event = event.cpu_parent
    return None


@contextmanager
def _marked_quantizers() -> Iterator[None]:
    """Mark the work of all quantizers within the context."""

    def marked(method: Callable[..., Any], stage: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            with record_function(_MARK + stage):
                return method(*args, **kwargs)

        return call

    def marked_pass(
        x: Tensor, scale: Tensor, zero_point: Tensor, top: int, transform: Any, invert: bool, per_token: bool = False
    ) -> Tensor:
        with record_function(_MARK + _key((tuple(x.shape), transform.name, invert))):
            return fake_quantize(x, scale, zero_point, top, transform, invert, per_token)

    fake_quantize = native.fake_quantize
    with ExitStack() as stack:
        for owner, stages in MARKED.items():
            others = {name: marked(getattr(owner, name), stage) for name, stage in stages.items()}
            stack.enter_context(_replaced(owner, others))
        stack.enter_context(_replaced(native, {"fake_quantize": marked_pass}))
        yield


@contextmanager
def _replaced(owner: Any, others: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Replace functions of a class or module within the context."""
    before = {name: getattr(owner, name) for name in others}
    try:
        for name, function in others.items():
            setattr(owner, name, function)
        yield
    finally:
        for name, function in before.items():
            setattr(owner, name, function)


def _key(found: CompiledPass) -> str:
    shape, transform, invert = found
    return f"{'x'.join(map(str, shape))} {transform} {invert}"


def _transform_shares(network: nn.Module, x: Tensor) -> dict[str, float]:
    """Return which part of each compiled pass is the transform's: mark -> 0..1; nothing where nothing is compiled."""
    met: dict[CompiledPass, tuple[Any, ...]] = {}
    fake_quantize = native.fake_quantize

    def note(operand: Tensor, *how: Any) -> Tensor:
        met.setdefault((tuple(operand.shape), how[3].name, how[4]), how)
        return fake_quantize(operand, *how)

    with _replaced(native, {"fake_quantize": note}):
        network(x)
    shares = {}
    for found, (scale, zero_point, top, transform, *how) in met.items():
        operand = torch.rand(found[0], dtype=scale.dtype, device=scale.device)
        whole = _seconds(lambda: fake_quantize(operand, scale, zero_point, top, transform, *how))  # noqa: B023
        without = _seconds(lambda: fake_quantize(operand, scale, zero_point, top, TRANSFORMS["none"], *how))  # noqa: B023
        shares[_key(found)] = max(0.0, 1 - without / whole) if transform.compiled else 0.0
    return shares


def _seconds(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


def shared_out(stages: Mapping[str, float], total: float) -> dict[str, float]:
    """Return the stages of an instrumented call, scaled to `total`, the time of a call without instruments.

    Args:
        stages: times of stages of `PROFILE_STAGES`, in any unit.
        total: the sum of the result.
    """
    whole = sum(stages.values())
    return {stage: total * stages.get(stage, 0.0) / whole if whole else 0.0 for stage in PROFILE_STAGES}
