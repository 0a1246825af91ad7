"""Kill training runs of a tiny network fifty times with SIGKILL, and compare the hashes of their results.

    python benchmarks/kill_test.py [--kills 50] [--seed 0]

Each killed run continues with --auto_resume, until it is killed again or finishes. Exits with 1 if a result differs
from that of the undisturbed run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from training import killing


def main() -> int:
    """Kill, resume, compare, print a summary; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = killing.kill(Path(folder), arguments.kills, arguments.seed)
    found, resumed = list(outcome["found"]), list(outcome["resumed"])
    same = sum(digest == outcome["wanted"] for digest in found)
    spent = time.perf_counter() - began
    print(f"{outcome['kills']} kills in {spent:.0f} s, an undisturbed run takes {outcome['seconds']:.1f} s")
    print(f"resumed from iterations {', '.join('none yet' if i < 0 else str(i) for i in resumed)}")
    print(f"{same} of {len(found)} results equal to the undisturbed one, sha256 {outcome['wanted']}")
    return 0 if found and same == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
