"""Fuzz the readers of packed files, weight files and option files, guided by coverage (atheris, libFuzzer).

    pip install atheris
    python benchmarks/fuzz/run.py --seconds 60               # together; CI does this
    python benchmarks/fuzz/run.py --seconds 3600 --target options
    benchmarks/fuzz/engine_coverage --seconds 3600           # the engine, in a build by clang that counts coverage

Exits with 1 if a reader failed with anything but its one-line error, hung, or took too much memory; the input is then
in `--out`. Where atheris is not installed it says so and exits with 0, or with 1 if COMPSRT_COMPILED=required, as in
CI.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = ("packed", "weights", "options")
ENGINE = "engine"  # asked for alone: only in a build by clang does the fuzzer see what it reaches
TIMEOUT, ENGINE_TIMEOUT = 20, 300  # seconds for one input; of the engine it is a network, made and run
MEMORY = 4096  # MiB
LONGEST_INPUT = 1 << 16


def fuzz_here(name: str, flags: list[str]) -> None:
    """Run libFuzzer on one target in this process, which it ends."""
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)  # the engine's counters find libFuzzer, which atheris brings
    import atheris
    import torch

    sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # this tree, also where another one is installed
    if name == ENGINE:  # Python's coverage would only hide the engine's
        import targets
    else:
        with atheris.instrument_imports(include=["torch._weights_only_unpickler"]):
            importlib.reload(torch._weights_only_unpickler)  # of torch itself, the unpickler alone
        with atheris.instrument_imports(include=["compsrt_plugin", "yaml"]):
            import targets

    import compsrt_plugin

    compsrt_plugin.register()
    atheris.Setup([sys.argv[0], *flags], targets.TARGETS[name])
    atheris.Fuzz()


def fuzz(name: str, seconds: int, out: Path) -> bool:
    """Fuzz a target in a process of its own, print the outcome, and return whether it passed."""
    timeout = ENGINE_TIMEOUT if name == ENGINE else TIMEOUT
    with tempfile.TemporaryDirectory() as found:
        command = [
            sys.executable, __file__, "--inside", name, found, str(HERE / "corpus" / name),
            f"-max_total_time={seconds}", f"-timeout={timeout}", f"-rss_limit_mb={MEMORY}",
            f"-max_len={LONGEST_INPUT}", f"-artifact_prefix={out}/{name}-", "-print_final_stats=1",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    said = done.stderr + done.stdout
    runs = re.search(r"number_of_executed_units:\s*(\d+)", said)
    coverage = re.findall(r"\bcov: (\d+)", said)
    sys.stdout.write(
        f"{name}: {int(runs[1]) if runs else 0:,} inputs in {seconds} s, "
        f"coverage {coverage[0] if coverage else '?'} to {coverage[-1] if coverage else '?'}: "
        f"{'no failure' if done.returncode == 0 else 'FAILED'}\n"
    )
    if done.returncode:
        sys.stdout.write(said[-6000:] + "\n")
    sys.stdout.flush()
    return done.returncode == 0 and runs is not None


def main() -> int:
    """Run the targets one after the other and return the exit code."""
    if sys.argv[1:2] == ["--inside"]:
        fuzz_here(sys.argv[2], sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="time for all targets together (60)")
    parser.add_argument("--target", choices=(*NAMES, ENGINE), action="append", help="one of them (may be repeated)")
    parser.add_argument("--out", type=Path, default=Path("fuzz_failures"), help="folder for inputs that fail")
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.stdout.write("not fuzzed: atheris is not installed (pip install atheris)\n")
        return 1 if os.environ.get("COMPSRT_COMPILED") == "required" else 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = arguments.target or list(NAMES)
    well = [fuzz(name, max(1, arguments.seconds // len(names)), arguments.out.resolve()) for name in names]
    if not any(arguments.out.iterdir()):
        arguments.out.rmdir()
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
