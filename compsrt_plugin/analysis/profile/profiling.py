"""Profile a packed network: time every way of running it in turns, split the time into stages, measure memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from compsrt_plugin.analysis.profile.peak_memory import peak_bytes
from compsrt_plugin.analysis.profile.runtimes import RUNTIMES, models_of, not_installed, runtime_way
from compsrt_plugin.analysis.profile.stages import shared_out
from compsrt_plugin.analysis.profile.timing import Timing, interleaved
from compsrt_plugin.analysis.profile.twins import pruned_share, without_mask, without_transform
from compsrt_plugin.analysis.profile.ways import TorchWay, Way, engine_way
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference.padding import padded_size
from compsrt_plugin.packed.open import PackedNetwork, decoded_network, open_packed

Setting = tuple[int, int]
"""Batch and threads."""
SIMULATED_AND_ENGINE = ("simulated", "engine")  # the ways with masks and transforms
NO_MASK, NO_TRANSFORM = "without mask", "without transform"


@dataclass
class Profile:
    """The measurements of a network.

    Attributes:
        path, scale, bits: of the packed file.
        size: height and width of the input, in whole windows.
        main: the setting of stages, memory and twins: smallest batch, most threads.
        labels: way -> display name, in order.
        timings: (way, setting) -> times.
        stages: way -> milliseconds per stage, which add up to the median.
        peaks: way -> peak bytes above what the process held before the first call.
        twins: (way, `NO_MASK` or `NO_TRANSFORM`) -> times, in the same rounds as `main`.
        pruned_share: share of pruned codes in the layers that have a mask.
        missing: way or part -> why it is missing.
        load: load average of the last minute before the start; 0 if the system does not report it.
        cores: number of cores of the machine.
    """

    path: Path
    scale: int
    bits: int
    size: tuple[int, int]
    main: Setting
    labels: dict[str, str] = field(default_factory=dict)
    timings: dict[tuple[str, Setting], Timing] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    twins: dict[tuple[str, str], Timing] = field(default_factory=dict)
    pruned_share: float = 0.0
    missing: dict[str, str] = field(default_factory=dict)
    load: float = field(default_factory=lambda: os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0)
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)

    def main_timing(self, way: str) -> Timing:
        """Return the times of a way in the main setting."""
        return self.timings[way, self.main]

    @property
    def runs(self) -> int:
        """Number of rounds in the main setting."""
        return len(self.main_timing("eager").seconds)

    @property
    def settings(self) -> list[Setting]:
        """All settings, in order."""
        return sorted({setting for _, setting in self.timings})


def profile_network(
    path: Path,
    size: tuple[int, int],
    batches: Sequence[int],
    threads: Sequence[int],
    runs: int | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Profile:
    """Return all measurements of a packed network.

    Args:
        path: a packed file.
        size: height and width of the low-resolution input. Both are rounded up to whole windows.
        batches, threads: every combination is timed.
        runs: rounds per setting; see `interleaved`.
        tell: called with a description of each step.

    Raises:
        CompSRTError: the file cannot be read.
    """
    source = open_packed(path)
    window = int(getattr(source.network, "window_size", 1))
    height, width = (padded_size(side, window, "reflect") for side in size)
    main = (min(batches), max(threads))
    found = Profile(
        source.path, source.header.scale, source.header.bits, (height, width), main,
        pruned_share=pruned_share(source),
    )  # fmt: skip
    plain = decoded_network(source)
    models = models_of(plain)
    ways: dict[str, Way] = {
        "eager": TorchWay("eager", "PyTorch eager fp32", plain),
        "simulated": TorchWay("simulated", f"simulated {found.bits} bits", source.network),
    }
    engine = engine_way(source, label=f"engine {found.bits} bits")
    ways.update({} if isinstance(engine, str) else {"engine": engine})
    found.missing.update({"engine": engine} if isinstance(engine, str) else {})
    generator = torch.Generator("cpu").manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, _threads_kept():
        inputs = {
            batch: torch.rand(batch, 3, height, width, generator=generator, dtype=torch.float32, device="cpu")
            for batch in sorted(set(batches))
        }
        for name in RUNTIMES:
            why_not = not_installed(name)
            if why_not is None:
                tell(f"export for {name}")
                why_not = _add_runtime(ways, name, models, inputs[main[0]])
            if why_not is not None:
                found.missing[name] = why_not
        found.labels = {name: way.label for name, way in ways.items()}
        twins = _twin_ways(source, Path(folder), found.missing)
        for batch, x in inputs.items():
            for count in sorted(set(threads)):
                tell(f"batch {batch}, threads {count}")
                torch.set_num_threads(count)
                calls = {name: way.ready(x, count) for name, way in ways.items()}
                if (batch, count) == main:
                    calls.update({" ".join(key): way.ready(x, count) for key, way in twins.items()})
                timings = interleaved(calls, runs)
                found.timings.update({(name, (batch, count)): timings[name] for name in ways})
                if (batch, count) == main:
                    found.twins = {key: timings[" ".join(key)] for key in twins}
        _look_closer(found, ways, inputs[main[0]], Path(folder), models, tell)
    return found


@contextmanager
def _threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _add_runtime(
    ways: dict[str, Way], name: str, models: Callable[[torch.Tensor], bytes], x: torch.Tensor
) -> str | None:
    """Add the way of a runtime. Return why it does not work here, or None."""
    way = runtime_way(name, models)
    try:
        way.ready(x, 1)()
    except CompSRTError as error:
        return str(error)
    except Exception as error:  # a third-party library may raise anything
        return f"does not run this network ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    ways[name] = way
    return None


def _twin_ways(source: PackedNetwork, folder: Path, missing: dict[str, str]) -> dict[tuple[str, str], Way]:
    """Return the twins with the ways that can run them."""
    twins: dict[tuple[str, str], Way] = {}
    made = {
        NO_MASK: without_mask(source, folder / "mask.safetensors"),
        NO_TRANSFORM: without_transform(source, folder / "transform.safetensors"),
    }
    for what, twin in made.items():
        if twin is None:
            continue
        twins["simulated", what] = TorchWay("simulated", what, twin.network)
        if "engine" not in missing:
            engine = engine_way(twin)
            if isinstance(engine, str):
                missing[f"engine {what}"] = engine
            else:
                twins["engine", what] = engine
    return twins


def _look_closer(
    found: Profile,
    ways: dict[str, Way],
    x: torch.Tensor,
    folder: Path,
    models: Callable[[torch.Tensor], bytes],
    tell: Callable[[str], object],
) -> None:
    """Split the time of the main setting into stages, and measure memory."""
    batch, threads = found.main
    torch.set_num_threads(threads)
    exported = folder / "network.onnx"
    for name, way in ways.items():
        tell(f"stages and memory, {way.label}")
        found.stages[name] = shared_out(way.stages(x, threads), found.main_timing(name).median_ms)
        if name in RUNTIMES and not exported.exists():
            exported.write_bytes(models(x))
        try:
            file = exported if name in RUNTIMES else found.path
            found.peaks[name] = peak_bytes(name, file, (batch, *found.size), threads)
        except CompSRTError as error:
            found.missing[f"memory of {name}"] = str(error)
