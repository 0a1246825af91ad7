"""Measure time, page faults and peak memory of simulated networks with freed memory kept and returned.

    python benchmarks/allocator.py                       # the bundled x4, 3 bits
    python benchmarks/allocator.py FILE.safetensors --size 128x128 --rounds 5 --save "DAT-light x4, 4 bits"
    python benchmarks/allocator.py --table               # write docs/notes/speed.md from saved results

Both take turns, each in a process of its own, so that ratios hold on a busy machine too.
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
from typing import Any

from sensitivity import page_with

from compsrt_plugin import allocator
from compsrt_plugin.files import write_whole

RESULTS = Path(__file__).parent / "allocator_results"
PAGE = Path(__file__).parents[1] / "docs" / "notes" / "speed.md"
BEGIN = "<!-- benchmarks/allocator.py --table -->\n"


def measure(file: Path, height: int, width: int, keeps: bool) -> dict[str, float]:
    """Return the page faults, times (s) and peak memory (MiB) of three forward passes in this process."""
    if keeps and not allocator.keep_freed_memory():
        raise SystemExit("the allocator of this system cannot be configured")
    import torch

    from compsrt_plugin.packed.open import open_packed

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


def table(results: list[dict[str, Any]]) -> str:
    """Return the saved medians as a Markdown table."""
    lines = [
        "| three forward passes, one thread | page faults | system time | CPU time | peak memory |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for result in sorted(results, key=lambda one: one["network"], reverse=True):
        kept, returned = result["kept"], result["returned"]
        cells = [
            f"{result['network']}, {result['size']} pixels",
            f"{kept['faults']:,.0f} for {returned['faults']:,.0f}",
            f"{kept['system']:.2f} s for {returned['system']:.2f}",
            f"{kept['cpu']:.1f} s for {returned['cpu']:.1f}",
            f"{kept['peak MiB']:,.0f} MiB for {returned['peak MiB']:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def read_results() -> list[dict[str, Any]]:
    """Return the results that `--save` wrote."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def main() -> None:
    """Run both in turns, print medians and their ratios, and save them if asked to; or write the table."""
    from compsrt_plugin.packed.bundled import WEIGHTS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=WEIGHTS / "compsrt_x4_3bit.safetensors")
    parser.add_argument("--size", default="96x96", metavar="HxW")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inside", choices=["kept", "returned"], help=argparse.SUPPRESS)
    parser.add_argument("--save", metavar="NETWORK", help="also save the medians under this name")
    parser.add_argument("--table", action="store_true", help="write docs/notes/speed.md, and measure nothing")
    arguments = parser.parse_args()
    if arguments.table:
        write_whole(PAGE, page_with(PAGE.read_text(), table(read_results()), BEGIN).encode())
        return
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
    medians = {how: {name: median(one[name] for one in found) for name in found[0]} for how, found in results.items()}
    sys.stdout.write(f"{'':10}{'returned':>12}{'kept':>12}{'ratio':>8}\n")
    for name, kept in medians["kept"].items():
        returned = medians["returned"][name]
        sys.stdout.write(f"{name:10}{returned:12,.2f}{kept:12,.2f}{kept / returned:8.2f}\n")
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        saved = {"network": arguments.save, "size": arguments.size, "rounds": arguments.rounds, **medians}
        target = RESULTS / f"{arguments.save.lower().replace(',', '').replace(' ', '_')}.json"
        write_whole(target, (json.dumps(saved, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
