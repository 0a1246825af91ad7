"""Follow an image through the quantized network, block by block, in comparison with the full-precision network.

Two signal-to-noise ratios of each block's output show where the loss starts and how it accumulates:

    total   the quantized network runs normally
    own     each of its blocks gets the inputs of the full-precision block

The ratio is 10 log10(Σ y² / Σ (ŷ − y)²), where y is the full-precision output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.modes import evaluating
from compsrt_plugin.report.columns import markdown
from compsrt_plugin.training.features import repeated_modules

WALK_SIDE = 128  # low-resolution pixels per side; the inputs of all blocks are kept in memory


@dataclass(frozen=True)
class WalkStep:
    """One block.

    Attributes:
        name: dotted name.
        total: signal-to-noise ratio of its output in dB.
        own: the same with full-precision inputs, in dB.
    """

    name: str
    total: float
    own: float


@dataclass(frozen=True)
class Walk:
    """An image followed through a network.

    Attributes:
        picture: description of the image.
        network: description of the quantized network.
        steps: the blocks in the order in which they run.
        output: signal-to-noise ratio of the enlarged image in dB.
    """

    picture: str
    network: str
    steps: Sequence[WalkStep]
    output: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """Return sentences about where the loss starts, which block adds most, and how it accumulates."""
        first, last = self.steps[0], self.steps[-1]
        worst = min(self.steps, key=lambda step: step.own)
        return [
            f"{self.picture}; {self.network}.",
            f"The first block's output has {first.total:.1f} dB signal to noise, the last one's {last.total:.1f} dB, "
            f"the enlarged image {self.output:.1f} dB.",
            f"By itself, {worst.name} does most: {worst.own:.1f} dB with full-precision inputs. The last block by "
            f"itself has {last.own:.1f} dB; the other {max(0.0, last.own - last.total):.1f} dB were lost before it.",
        ]

    def markdown(self) -> list[str]:
        """Return the sentences and a table as Markdown."""
        rows = [(f"`{step.name}`", f"{step.total:.1f}", f"{step.own:.1f}") for step in self.steps]
        return [*self.sentences(), "", *markdown([("block", "total, dB", "own, dB"), *rows])]


def walk(exact: nn.Module, quantized: nn.Module, lq: Tensor, picture: str, network: str) -> Walk:
    """Return the comparison of both networks' block outputs for an image.

    Args:
        exact: full precision.
        quantized: its quantized version with the same blocks, quantizers on.
        lq: (1, c, h, w) in 0..1, with h and w multiples of the window.
        picture, network: descriptions.

    Raises:
        CompSRTError: the networks have no series of blocks, or not the same blocks.
    """
    names = block_names(exact)
    if not names or names != block_names(quantized):
        found = f"{len(names)} blocks in full precision and {len(block_names(quantized))} quantized"
        raise CompSRTError(f"--walk: {found}", allowed="a network with a series of blocks, and its quantized version")
    inputs: dict[str, tuple[Any, ...]] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str, given: tuple[Any, ...], made: Tensor) -> None:
        inputs[name], outputs[name] = given, made

    with torch.no_grad(), evaluating(exact), evaluating(quantized):
        with _watched(exact, names, keep):
            reference = exact(lq)
        total = dict.fromkeys(outputs, 0.0)
        own = dict.fromkeys(outputs, 0.0)
        with _watched(
            quantized, names, lambda name, _, made: total.update({name: signal_to_noise(outputs[name], made)})
        ):
            output = quantized(lq)
        with _watched(
            quantized, names, lambda name, _, made: own.update({name: signal_to_noise(outputs[name], made)}), inputs
        ):
            quantized(lq)
    steps = [WalkStep(name, total[name], own[name]) for name in outputs]
    return Walk(picture, network, steps, signal_to_noise(reference, output))


def block_names(network: nn.Module) -> list[str]:
    """Return the dotted names of a network's blocks: the blocks of each group, or the groups if they have none."""
    names: list[str] = []
    for group in repeated_modules(network):
        inner = repeated_modules(network.get_submodule(group))
        names += [f"{group}.{name}" for name in inner] or [group]
    return names


def signal_to_noise(signal: Tensor, found: Tensor) -> float:
    """Return 10 log10(Σ signal² / Σ (found − signal)²), at most 200."""
    noise = float((found - signal).double().square().sum())
    power = float(signal.double().square().sum())
    return min(200.0, 10 * math.log10(max(power, 1e-300) / noise)) if noise else 200.0


@contextmanager
def _watched(
    network: nn.Module, names: Sequence[str], look: Any, instead: Mapping[str, tuple[Any, ...]] | None = None
) -> Iterator[None]:
    """Call `look(name, inputs, output)` for each block within the context. `instead` replaces the inputs of blocks.

    Only tensors are replaced, because sizes and other inputs are the same in both networks.
    """
    handles = []

    def before(name: str) -> Any:
        def replace(_module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            kept = (instead or {})[name]
            return tuple(old if isinstance(old, Tensor) else new for old, new in zip(kept, given))

        return replace

    def after(name: str) -> Any:
        def see(_module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            look(name, given, made[0] if isinstance(made, (tuple, list)) else made)

        return see

    try:
        for name in names:
            module = network.get_submodule(name)
            if instead is not None:
                handles.append(module.register_forward_pre_hook(before(name)))
            handles.append(module.register_forward_hook(after(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()
