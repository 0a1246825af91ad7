"""What keeping freed memory brings: time, page faults and peak memory of simulated networks with and without it.

    python benchmarks/allocator.py                       # the bundled x4, 3 bits
    python benchmarks/allocator.py FILE.safetensors --size 128x128 --rounds 5

Both take turns, each in a process of its own; ratios hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from compsrt_plugin import allocator


def measure(file: Path, height: int, width: int, keeps: bool) -> dict[str, float]:
    """Return what three forward passes take in this process."""
    if keeps and not allocator.keep_freed_memory():
        raise SystemExit("the allocator of this system cannot be told")
    import torch

    from compsrt_plugin.packed_network import open_packed

    torch.set_num_threads(1)
    network, x = open_packed(file).network, torch.rand(1, 3, height, width)
    with torch.no_grad():
        network(x)
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        for _ in range(3):
            network(x)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - start,
        "system": after.ru_stime - before.ru_stime,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "faults": after.ru_minflt - before.ru_minflt,
        "peak MiB": after.ru_maxrss / 1024,
    }


def main() -> None:
    """Run both in turns and print medians and their ratios."""
    from compsrt_plugin.bundled import WEIGHTS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=WEIGHTS / "compsrt_x4_3bit.safetensors")
    parser.add_argument("--size", default="96x96", metavar="HxW")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inside", choices=["kept", "returned"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    if arguments.inside:
        found = measure(arguments.file, height, width, arguments.inside == "kept")
        sys.stdout.write(json.dumps(found) + "\n")
        return
    results: dict[str, list[dict[str, float]]] = {"returned": [], "kept": []}
    for _ in range(arguments.rounds):
        for how, found in results.items():
            command = [sys.executable, __file__, str(arguments.file), "--size", arguments.size, "--inside", how]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    sys.stdout.write(f"{'':10}{'returned':>12}{'kept':>12}{'ratio':>8}\n")
    for name in results["kept"][0]:
        returned, kept = (median(one[name] for one in results[how]) for how in ("returned", "kept"))
        sys.stdout.write(f"{name:10}{returned:12,.2f}{kept:12,.2f}{kept / returned:8.2f}\n")


if __name__ == "__main__":
    main()
