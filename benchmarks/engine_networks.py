"""Measure the engine on the networks that are no SwinIR: time beside PyTorch, memory, growth with the image.

    python benchmarks/engine_networks.py [NAME …] [--results benchmarks/results/engine] [--bits 4] [--rounds 5]
                                         [--two-threads] [--times-only]

Networks have their published sizes (`zoo.py`), the largest one of their groups of layers, and random weights, on which
speed does not depend. Full precision, the simulated network and the engine take turns. On one thread the processor time
of the process is counted, so that a busy machine adds little. On two threads it is clock time, which needs a machine at
rest. Freed memory is kept, as in the commands. The peak memory of each way is that of a process of its own. Writes a
result file per network, which `make results` reads.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from compsrt_plugin.allocator import keep_freed_memory

keep_freed_memory()

import torch  # noqa: E402

import compsrt_plugin  # noqa: E402

compsrt_plugin.register()

import zoo  # noqa: E402  (needs the repairs of `register`)
from engine import in_turns, noise  # noqa: E402
from engine_ways import Way, full_precision_ways, quantized_ways  # noqa: E402
from latency import processor  # noqa: E402

from compsrt_plugin.analysis.profile.peak_memory import peak_bytes  # noqa: E402
from compsrt_plugin.engine import Engine  # noqa: E402
from compsrt_plugin.files import write_whole  # noqa: E402
from compsrt_plugin.packed.open import PackedNetwork, open_packed  # noqa: E402
from compsrt_plugin.report.versions import versions  # noqa: E402

ONE_GROUP = {
    name: {**zoo.SPANDREL[name], **only}
    for name, only in (
        ("Swin2SR", {"depths": [6], "num_heads": [6]}),
        ("HAT", {"depths": [6], "num_heads": [6]}),
        ("RGT", {"depth": [6], "num_heads": [6]}),
    )
}
"""Arguments of networks that take too long as a whole."""
NAMES = ("DAT", "CRAFT", "SRFormer", "ATD", "MambaIRv2Light", "OmniSR", "Swin2SR", "HAT", "RGT")
SIDE, MEMORY_SIDE, GROWTH = 64, 128, (64, 128, 256)


def measure(name: str, bits: int, rounds: int, two_threads: bool, times_only: bool) -> dict[str, Any]:
    """Return what was measured of one network, as JSON holds it."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = zoo.packed(name, bits, Path(folder))
        source = open_packed(file)
        found["one_thread_ms"] = times(source, 1, rounds, cpu=True)
        if two_threads:
            found["two_threads_ms"] = times(source, 2, rounds)
        if not times_only:
            found["growth_ms"], found["first_image_ms"] = growth_of(source)
            shape = (1, MEMORY_SIDE, MEMORY_SIDE)
            found["peak_bytes"] = {way: peak_bytes(way, file, shape, 1) for way in ("eager", "engine")}
    return {
        "name": name,
        "bits": bits,
        "one_group": name in ONE_GROUP,
        "command": shlex.join(["python", "benchmarks/engine_networks.py", name, "--bits", str(bits)]),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": versions(),
        "processor": processor(),
        "rounds": rounds,
        "side": SIDE,
        "memory_side": MEMORY_SIDE,
        **found,
    }


def times(source: PackedNetwork, threads: int, rounds: int, cpu: bool = False) -> dict[str, float]:
    """Return the median milliseconds of full precision, the simulated network and the engine."""
    torch.set_num_threads(threads)
    ways = [*full_precision_ways(source, threads, None, 0), *quantized_ways(source, threads)]
    chosen: dict[str, Way] = {"eager": ways[0], "engine": ways[-1]}
    if cpu:
        chosen["simulated"] = next(way for way in ways if way.label == "simulated")
    x = noise(SIDE, SIDE, 1)
    arguments = argparse.Namespace(repeats=rounds, cpu_seconds=cpu)
    spent = in_turns({label: way.ready(x) for label, way in chosen.items()}, arguments)
    torch.set_num_threads(1)
    return {label: statistics.median(one) * 1e3 for label, one in spent.items()}


def growth_of(source: PackedNetwork) -> tuple[dict[str, float], float]:
    """Return milliseconds of processor time of each side of `GROWTH`, and of the first image of the first."""
    engine, found, first = Engine(source, threads=1), {}, 0.0
    for side in GROWTH:
        spent = []
        for _ in range(2):
            began = time.process_time()
            engine(noise(side, side, 1))
            spent.append((time.process_time() - began) * 1e3)
        first = first or spent[0]
        found[str(side)] = spent[1]
    return found, first


def main() -> None:
    """Measure each network and write NAME.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "engine")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--two-threads", action="store_true", help="measure two threads as well, by the clock")
    parser.add_argument("--times-only", action="store_true", help="neither growth nor memory")
    args = parser.parse_args()
    zoo.SPANDREL.update(ONE_GROUP)
    for name in args.names or NAMES:
        found = measure(name, args.bits, args.rounds, args.two_threads, args.times_only)
        write_whole(args.results / f"{name}.json", json.dumps(found, indent=1).encode() + b"\n")
        one = found["one_thread_ms"]
        print(name, {way: round(ms) for way, ms in one.items()}, round(one["eager"] / one["engine"], 2), flush=True)


if __name__ == "__main__":
    main()
