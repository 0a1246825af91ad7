"""Hooks on quantizers that pass their tensors on in full precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch.utils.hooks import RemovableHandle

from compsrt_plugin.quant.quantizer import Mode, Quantizer


@contextmanager
def watched(quantizers: Mapping[str, Quantizer], attach: Callable[[str, Quantizer], RemovableHandle]) -> Iterator[None]:
    """Let tensors reach the quantizers and pass them as they are; modes and hooks are as before afterwards.

    Args:
        quantizers: by name.
        attach: registers a hook on one of them and returns its handle.
    """
    modes = {name: quantizer.mode for name, quantizer in quantizers.items()}
    handles: list[RemovableHandle] = []
    try:
        for name, quantizer in quantizers.items():
            quantizer.mode = Mode.OBSERVE  # not OFF: products whose quantizers are all off do not show their operands
            handles.append(attach(name, quantizer))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for name, quantizer in quantizers.items():
            quantizer.mode = modes[name]
