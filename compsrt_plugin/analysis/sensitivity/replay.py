"""Replay the recorded outputs of a network's blocks instead of computing them.

A change at one place does not affect the blocks that ran before it. A recorded run therefore saves about half of each
further run on the same input.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class Replay:
    """The recorded outputs of a network's blocks, which are the members of its module lists.

    Blocks that run more than once, or return anything but a single tensor, are always computed.

    Args:
        network: in eval mode and deterministic.
    """

    def __init__(self, network: nn.Module) -> None:
        lists = {name: module for name, module in network.named_modules() if isinstance(module, nn.ModuleList)}
        self._blocks = {
            f"{name}.{key}": block for name, blocks in lists.items() for key, block in blocks.named_children()
        }
        self._started: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._outputs: dict[str, Tensor] = {}
        self._clock = 0

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the outputs of the blocks within the context, in which the network must run once."""
        handles = []

        def watch(name: str, block: nn.Module) -> None:
            def before(*_: Any) -> None:
                self._clock += 1
                self._started.setdefault(name, self._clock)

            def after(_block: nn.Module, _inputs: Any, output: Any) -> None:
                self._clock += 1
                if name in self._ended:
                    self._outputs.pop(name, None)  # it ran twice
                elif isinstance(output, Tensor):
                    self._outputs[name] = output.clone()  # later operations may change it in place
                self._ended[name] = self._clock

            handles.extend((block.register_forward_pre_hook(before), block.register_forward_hook(after)))

        for name, block in self._blocks.items():
            watch(name, block)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def up_to(self, place: str) -> Iterator[None]:
        """Let blocks that ended before the innermost block around `place` began return what was recorded.

        Args:
            place: dotted name of a module, the first that may compute anything else.
        """
        around = [name for name in self._started if place.startswith(f"{name}.")]
        start = max((self._started[name] for name in around), default=0)
        skipped = {name: output for name, output in self._outputs.items() if self._ended[name] < start}
        try:
            for name, output in skipped.items():
                vars(self._blocks[name])["forward"] = _returning(output)
            yield
        finally:
            for name in skipped:
                vars(self._blocks[name]).pop("forward", None)  # that of its class again


def _returning(output: Tensor) -> Any:
    return lambda *_args, **_kwargs: output.clone()
