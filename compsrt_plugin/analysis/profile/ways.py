"""Define the ways to run the same network: eager, simulated, engine, ONNX Runtime, OpenVINO."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from compsrt_plugin.analysis.profile.stages import stage_times
from compsrt_plugin.engine import Engine
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.open import PackedNetwork

TimedCall = Callable[[], object]
# stages that only the engine distinguishes
OF_ENGINE = {"scores": "products", "map_products": "products"}


class Way(Protocol):
    """One way to run the network.

    Attributes:
        name: prefix in the JSON, before `_ms`.
        label: display name.
    """

    @property
    def name(self) -> str:
        """Short name."""
        ...

    @property
    def label(self) -> str:
        """Display name."""
        ...

    def ready(self, x: Tensor, threads: int) -> TimedCall:
        """Return a prepared function that runs the network on x (b, 3, h, w) with this number of threads."""
        ...

    def stages(self, x: Tensor, threads: int) -> dict[str, float]:
        """Return the time per stage of `stages.STAGES` of an instrumented run, in any unit."""
        ...


class TorchWay:
    """PyTorch, eager.

    Args:
        name, label: see `Way`.
        network: in eval mode.
    """

    def __init__(self, name: str, label: str, network: nn.Module) -> None:
        self.name, self.label, self.network = name, label, network

    def ready(self, x: Tensor, threads: int) -> TimedCall:
        """See `Way`. The caller sets PyTorch's threads, which apply to the whole process."""

        def call() -> object:
            with torch.no_grad():
                return self.network(x)

        return call

    def stages(self, x: Tensor, threads: int) -> dict[str, float]:
        """See `Way`."""
        return stage_times(self.network, x)


class EngineWay:
    """The engine, from the packed file.

    Args:
        name, label: see `Way`.
        source: the packed file.

    Raises:
        CompSRTError: the engine is not built, or cannot run this network.
    """

    def __init__(self, name: str, label: str, source: PackedNetwork) -> None:
        self.name, self.label, self.source = name, label, source
        Engine(source, threads=1)

    def ready(self, x: Tensor, threads: int) -> TimedCall:
        """See `Way`."""
        engine = Engine(self.source, threads=threads)
        return lambda: engine(x)

    def stages(self, x: Tensor, threads: int) -> dict[str, float]:
        """See `Way`. `other` is the time outside the engine's stages, and waiting."""
        engine = Engine(self.source, threads=threads, profile=True)
        engine(x)
        start = time.perf_counter()
        engine(x)
        total = (time.perf_counter() - start) * 1e3
        found: dict[str, float] = {}
        for stage, milliseconds in engine.stage_times().items():
            name = OF_ENGINE.get(stage, stage)
            found[name] = found.get(name, 0.0) + milliseconds
        return {**found, "other": max(0.0, total - sum(found.values()))}


def engine_way(source: PackedNetwork, name: str = "engine", label: str = "engine") -> EngineWay | str:
    """Return the way of the engine, or why there is none."""
    try:
        return EngineWay(name, label, source)
    except CompSRTError as error:
        return str(error)
