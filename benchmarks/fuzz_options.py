"""Give every key of a train and a test file every kind of wrong value, and count the outcomes.

    python benchmarks/fuzz_options.py [--only train/datasets] [--seconds 120]

Exits with 1 if a case ended in a traceback, exceeded its time, or left files behind after it was refused.
"""

from __future__ import annotations

import argparse
import collections
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "config")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import option_fuzzing  # noqa: E402
import places  # noqa: E402


def main() -> int:
    """Run the cases, print what failed and a table, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="COMMAND/KEY", help="run only cases whose key begins so")
    parser.add_argument("--seconds", type=int, default=120, help="time limit of one case")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    began, slowest = time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COMPSRT_CACHE"] = f"{folder}/cache"
        os.makedirs(f"{folder}/networks")
        files = places.network_files(Path(folder, "networks"))
        os.makedirs(f"{folder}/run")
        os.chdir(f"{folder}/run")
        for case in option_fuzzing.cases(places.Place(files)):
            name = f"{case[0]}/{'.'.join(case[1])}"
            if not name.startswith(arguments.only):
                continue
            start = time.perf_counter()
            signal.alarm(arguments.seconds)
            try:
                verdict = "run" if option_fuzzing.run(case, places.Place(files)) == "run" else "refused"
            except Exception:  # a traceback is a failure
                verdict = "failed"
                sys.stdout.write(f"{name} = {case[2]}\n{traceback.format_exc()}\n")
            signal.alarm(0)
            slowest = max(slowest, time.perf_counter() - start)
            counts[case[0], verdict] += 1
    for (command, verdict), count in sorted(counts.items()):
        sys.stdout.write(f"{command:6} {verdict:8} {count:5}\n")
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{sum(counts.values())} cases in {seconds:.0f} s, slowest {slowest:.1f} s\n")
    return int(any(verdict == "failed" for _, verdict in counts))


def _too_long(*_: object) -> None:
    raise TimeoutError("it takes too long")


if __name__ == "__main__":
    sys.exit(main())
