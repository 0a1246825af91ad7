"""Run a network in another mode for a while, and restore it: eval mode, quantizers off, quantizers observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from torch import nn
from torch.utils.hooks import RemovableHandle

from compsrt_plugin.quant.network import named_quantizers, set_mode
from compsrt_plugin.quant.quantizer import Mode, Quantizer


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run the body in eval mode, then restore the mode of each module, after errors too.

    A network in training may have parts in eval mode, such as a norm with frozen statistics.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        network.train(modes[0][1])  # a module may pass its mode on to modules that are not its children
        for module, training in modes:
            module.training = training


@contextmanager
def switched_off(network: nn.Module) -> Iterator[None]:
    """Switch all quantizers off for the body, then restore the mode of each."""
    with _restored(quantizer for _, quantizer in named_quantizers(network)):
        set_mode(network, Mode.OFF)
        yield


@contextmanager
def watched(quantizers: Mapping[str, Quantizer], attach: Callable[[str, Quantizer], RemovableHandle]) -> Iterator[None]:
    """Let quantizers pass their tensors on unchanged, with a hook on each; then restore modes and remove the hooks.

    Args:
        quantizers: by name.
        attach: takes a name and its quantizer, registers a hook and returns its handle.
    """
    handles: list[RemovableHandle] = []
    with _restored(quantizers.values()), removed(handles):
        for name, quantizer in quantizers.items():
            quantizer.mode = Mode.OBSERVE  # not OFF: a product whose quantizers are all off does not call them
            handles.append(attach(name, quantizer))
        yield


@contextmanager
def removed(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Run the body, then remove all hooks in `handles`, after errors too."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _restored(quantizers: Iterable[Quantizer]) -> Iterator[None]:
    modes = [(quantizer, quantizer.mode) for quantizer in quantizers]
    try:
        yield
    finally:
        for quantizer, mode in modes:
            quantizer.mode = mode
