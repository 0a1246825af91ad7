"""Time reading a packed file and its full-precision file, as ratios in one run.

    python benchmarks/read_packed.py [FILE] [--runs 20]

The packed file is verified, checked, decompressed and unpacked; the other is read by safetensors.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from compsrt_plugin.packed import load_weights, read_packed
from compsrt_plugin.packed.bundled import checkpoint_path, teacher_path


def main() -> None:
    """Print the median milliseconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=checkpoint_path(4, 3), metavar="FILE")
    parser.add_argument("--runs", type=int, default=20)
    args = parser.parse_args()
    times: dict[str, list[float]] = {"packed": [], "full precision": []}
    for _ in range(args.runs):
        for name, read in (
            ("packed", lambda: read_packed(args.file)),
            ("full precision", lambda: load_weights(teacher_path(4))),
        ):
            start = time.perf_counter()
            read()
            times[name].append(1e3 * (time.perf_counter() - start))
    packed, full = (statistics.median(times[name]) for name in times)
    print(f"{args.file.name}, {args.file.stat().st_size:,d} bytes, medians of {args.runs} interleaved runs")
    print(f"packed {packed:.1f} ms, full precision {full:.1f} ms, ratio {packed / full:.1f}")


if __name__ == "__main__":
    main()
