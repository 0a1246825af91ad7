"""The registry of calibration passes: the key of each in `quant:`, its place in the order, and its call.

A pass is declared in its own file, which is all that it takes: option files, recipes, the log, calibration and the
header of packed files read this registry.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from torch import Tensor, nn

from compsrt_plugin.quant.calibrate import calibrate
from compsrt_plugin.quant.layers import QuantLinear
from compsrt_plugin.quant.network import named_quantizers, quantized_layers
from compsrt_plugin.quant.spec import NetworkSpec


class Stage(Enum):
    """When a pass runs; passes of one stage run in the order of their registration."""

    WEIGHTS = "before pruning and the bound search, quantizers off"
    BOUNDS = "after the bound search, quantizers on"
    OUTPUT = "last, and again for each candidate of a training run"


class Patches(Protocol):
    """Low-resolution patches, the same ones at every call."""

    def __call__(self, title: str, limit: int | None = None) -> Iterator[Tensor]:
        """Yield patches (1, 3, h, w) in 0..1 under a progress bar.

        Args:
            title: of the progress bar.
            limit: yield at most this many; None: all.
        """
        ...


@dataclass
class Calibration:
    """A network under calibration, as passes see it.

    Attributes:
        network: the quantized network, with the methods of our arch classes; passes change it in place.
        patches: inputs to calibrate on.
        teacher: returns the full-precision network.
        raised: activations that got more bits -> their bits.
        memory: what passes keep from one call to the next, by name of the pass.
    """

    network: Any
    patches: Patches
    teacher: Callable[[], nn.Module]
    raised: dict[str, int] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def has_linear_layers(self) -> bool:
        """Whether any linear layer is quantized."""
        return any(isinstance(layer, QuantLinear) for _, layer in quantized_layers(self.network))

    def search_bounds(self) -> None:
        """Search the bounds of every quantizer, and switch the quantizers on."""
        calibrate(self.network, self.patches("bound search"))
        self.log(f"Bounds of {sum(1 for _ in named_quantizers(self.network))} quantizers searched")

    def log(self, line: str) -> None:
        """Write a line to BasicSR's log."""
        logging.getLogger("basicsr").info(line)


@dataclass(frozen=True)
class Pass:
    """A step of calibration that a recipe sets and `quant:` may change.

    Attributes:
        name: its key in `quant:`.
        about: one sentence for the reference of the options.
        kind: type of its value, as `config.typed` takes it.
        off: the value that skips the pass, and its value in a recipe that does not name it.
        stage: when it runs.
        run: the call, with the value.
        changes_weights: whether the weights differ afterwards by more than their rounding.
        needs_teacher: whether it runs the full-precision network, which must then stay unchanged.
        settle: takes the spec of the network, the value, and whether `quant:` gave it. Returns the value to use, or
            raises a CompSRTError if the value does not fit the spec.
    """

    name: str
    about: str
    kind: Any
    off: Any
    stage: Stage
    run: Callable[[Calibration, Any], None]
    changes_weights: bool = False
    needs_teacher: bool = False
    settle: Callable[[NetworkSpec, Any, bool], Any] = lambda _spec, value, _given: value


PASSES: dict[str, Pass] = {}
"""Every pass by name."""


def register_pass(step: Pass) -> Pass:
    """Add a pass to `PASSES` and return it.

    Raises:
        ValueError: the name is taken. The registry is unchanged.
    """
    if step.name in PASSES:
        raise ValueError(f"a calibration pass named {step.name!r} is registered already")
    PASSES[step.name] = step
    return step
