"""Damage 10,000 packed files and count how the reader reacts.

    python benchmarks/fuzz_packed.py [--cases 10000] [--first 0]

Exits with 1 if one of them crashed the reader, hung, or changed a weight without being detected.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from packed import fuzzing


def main() -> int:
    """Run the cases, print a table, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to repeat or continue")
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        sound = fuzzing.sample_files(Path(name))
        cases = range(arguments.first, arguments.first + arguments.cases)
        outcome = fuzzing.fuzz(cases, Path(name), sound)
    for (damage, verdict), count in sorted(outcome.verdicts.items()):
        sys.stdout.write(f"{damage:20} {verdict:20} {count:6}\n")
    sys.stdout.write(
        f"{arguments.cases} cases in {time.perf_counter() - began:.0f} s, slowest {outcome.slowest * 1e3:.0f} ms, "
        f"at most {fuzzing.MEMORY >> 20} MiB more memory: {len(outcome.failures)} failures\n"
    )
    sys.stdout.writelines(failure + "\n" for failure in outcome.failures[:20])
    return 1 if outcome.failures or outcome.slowest > fuzzing.SECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
