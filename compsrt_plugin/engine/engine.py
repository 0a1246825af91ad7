"""`Engine`: run a packed network in the compiled library, as a whole or operator by operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from compsrt_plugin.engine.layer_runs import LayerRun
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import Level, level, loading
from compsrt_plugin.threads import checked, cores, warn


def engine_available() -> bool:
    """Return whether the compiled library can be used. It runs on every processor, and fast with AVX2 or NEON."""
    return loading.library() is not None


def unsupported_reason(network: Any = None) -> str | None:
    """Return why the engine cannot run, or cannot run this network, in one line; None if it can."""
    if not engine_available():
        return loading.missing()
    if network is not None:
        module = _module(network)
        try:
            Engine.kind_for(module).check(module)
        except CompSRTError as error:
            return str(error)
    return None


class Engine:
    """A frozen network on integers: the same pixels as the simulated network, up to rounding.

    A SwinIR runs in the compiled library as a whole. Any other network is recorded once for each size of image and then
    runs as a plan of compiled operators; PyTorch runs the operations they lack, and `layers` lists both. Calls from
    several threads wait for each other. Works in a process forked from the one that made it.

    Args:
        packed_network: a `PackedNetwork`, or the network rebuilt from a packed file.
        threads: how many to compute with; None: one per core this process may use. The attribute of that name is
            how many there are: fewer, with a warning, if the system cannot start more.
        profile: enable per-stage timing (`stage_times`).

    Attributes:
        level: name of the level of instructions in use.

    Raises:
        CompSRTError: the compiled library is missing, the network cannot run in it, or there is not enough memory.
    """

    kinds: ClassVar[list[tuple[Callable[[nn.Module], bool] | None, type[Engine]]]] = []
    check: ClassVar[Callable[[nn.Module], None]]
    threads: int
    level: str

    def __init_subclass__(
        cls, check: Callable[[nn.Module], None], only: Callable[[nn.Module], bool] | None = None
    ) -> None:
        """Add a kind of engine.

        Args:
            check: raises an error for a network that it cannot run.
            only: whether a network is of its kind; None: it runs the networks that no other kind runs.
        """
        Engine.kinds.append((only, cls))
        cls.check = staticmethod(check)  # pyright: ignore[reportAttributeAccessIssue]

    @staticmethod
    def kind_for(network: nn.Module) -> type[Engine]:
        """Return the kind of engine for a network."""
        special = [kind for only, kind in Engine.kinds if only is not None and only(network)]
        return (special or [kind for only, kind in Engine.kinds if only is None])[0]

    def __new__(cls, packed_network: Any, threads: int | None = None, profile: bool = False) -> Engine:
        """Choose the kind of engine that fits the network."""
        return object.__new__(Engine.kind_for(_module(packed_network)) if cls is Engine else cls)

    def __init__(self, packed_network: Any, threads: int | None = None, profile: bool = False) -> None:
        raise NotImplementedError

    def _prepare(self, packed_network: Any, threads: int | None, profile: bool) -> tuple[Any, Level]:
        """Take the arguments; return the network, checked, and the level of instructions."""
        in_use = level()
        network = _module(packed_network)
        type(self).check(network)
        self.level = in_use.name
        self.threads = cores() if threads is None else checked("threads", threads)
        self.profile = profile
        self._network = network
        self._times: dict[str, float] = {}
        return network, in_use

    def _got_threads(self, started: int) -> None:
        """Continue with the threads that the system started, and warn if they are fewer than requested."""
        if started < self.threads:
            warn(self.threads, started)
            self.threads = started

    def __call__(self, x: Tensor) -> Tensor:
        """Super-resolve images (b, c, h, w) in 0..1: float32, on the CPU, `scale` times as high and wide."""
        raise NotImplementedError

    def layers(self, height: int, width: int) -> list[LayerRun]:
        """Return how each layer runs for images of this size."""
        raise NotImplementedError

    def stage_times(self) -> dict[str, float]:
        """Return milliseconds per stage of the last call; empty without `profile`."""
        return dict(self._times)


def _module(packed_network: Any) -> Any:
    """Return the network itself."""
    found = packed_network if isinstance(packed_network, nn.Module) else getattr(packed_network, "network", None)
    if not isinstance(found, nn.Module):
        raise CompSRTError(f"the engine got {type(packed_network).__name__}", allowed="a network or a PackedNetwork")
    return found
