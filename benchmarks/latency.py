"""Measure the latency of packed networks beside full precision in PyTorch, ONNX Runtime and OpenVINO.

    python benchmarks/latency.py FILE… [--results benchmarks/results/latency] [--size 64x64] [--rounds 15]

All ways of all files take turns on one thread. The process's own processor time is counted, so a busy machine adds
little; other processes still share caches and memory. The allocator keeps freed memory, as in our commands: without
that, equal networks in PyTorch differ by a half, by what was freed before. Writes a result file per network, which
`make results` reads.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch

import compsrt_plugin

compsrt_plugin.register()

from engine import in_turns, noise  # noqa: E402  (needs the repairs of `register`)
from engine_ways import full_precision_ways, quantized_ways  # noqa: E402

from compsrt_plugin import allocator, native  # noqa: E402
from compsrt_plugin.analysis.profile.runtimes import RUNTIMES, not_installed  # noqa: E402
from compsrt_plugin.cli.report import parse_size  # noqa: E402
from compsrt_plugin.files import write_whole  # noqa: E402
from compsrt_plugin.packed.open import open_packed  # noqa: E402
from compsrt_plugin.report import FileRecord  # noqa: E402
from compsrt_plugin.report.versions import versions  # noqa: E402


def measure(files: Sequence[Path], size: tuple[int, int], rounds: int) -> list[dict[str, Any]]:
    """Return milliseconds of processor time of each way to run each network, medians of rounds, as JSON holds it.

    Ways of all networks take turns, so that a machine whose speed changes slows all of them.

    Args:
        files: packed networks.
        size: height and width of the low-resolution image.
        rounds: number of turns of every way, after one to warm up.
    """
    sources = {file: open_packed(file) for file in files}
    ways = {file: [*full_precision_ways(one, 1, None, 0), *quantized_ways(one, 1)] for file, one in sources.items()}
    x = noise(size[1], size[0], 8)
    calls = {f"{file.stem}: {way.label}": way.ready(x) for file, of_file in ways.items() for way in of_file}
    times = in_turns(calls, argparse.Namespace(repeats=rounds, cpu_seconds=True))
    words = ["python", "benchmarks/latency.py", *(file.name for file in files)]
    command = shlex.join([*words, "--size", "{}x{}".format(*size), "--rounds", str(rounds)])
    return [
        {
            "name": file.stem,
            "scale": source.header.scale,
            "bits": source.header.bits,
            "sha256": FileRecord.of(file).sha256,
            "command": command,
            "date": datetime.now(timezone.utc).date().isoformat(),
            "versions": {**versions(), **runtime_versions()},
            "processor": processor(),
            "size": list(size),
            "rounds": rounds,
            "processor_ms": {
                way.label: statistics.median(times[f"{file.stem}: {way.label}"]) * 1e3 for way in ways[file]
            },
        }
        for file, source in sources.items()
    ]


def runtime_versions() -> dict[str, str]:
    """Return the versions of the other runtimes that are installed."""
    from importlib.metadata import version

    return {name: version(name) for name in RUNTIMES if not_installed(name) is None}


def processor() -> str:
    """Return the processor's name as Linux reports it, and the engine's level on it.

    The name alone does not say which instructions a virtual machine has.
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{name} ({native.level().name})" if native.levels() else name


def main() -> None:
    """Measure each file and write NAME.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "latency")
    parser.add_argument("--size", type=parse_size, default=(64, 64), metavar="HxW")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    allocator.keep_freed_memory()
    for found in measure(args.files, args.size, args.rounds):
        write_whole(args.results / f"{found['name']}.json", json.dumps(found, indent=1).encode() + b"\n")
        print(found["name"], {label: round(ms, 1) for label, ms in found["processor_ms"].items()}, flush=True)


if __name__ == "__main__":
    main()
