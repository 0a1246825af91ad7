"""Build the test program of the C++ library, for this processor or another one, and run it."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).parent
CSRC = SimpleNamespace(**runpy.run_path(str(HERE.parents[1] / "csrc" / "levels.py")))


@dataclass(frozen=True)
class Target:
    """A kind of processor to build for.

    Attributes:
        machine: as `platform.machine` names it.
        compiler: command that compiles C++ for it.
        emulator: command that runs its programs here; empty on the processor itself.
        optimize: level of optimization. This processor's kernels are tested as shipped by the tests in Python.
    """

    machine: str
    compiler: str
    emulator: tuple[str, ...] = ()
    optimize: str = "-O0"

    def missing(self) -> list[str]:
        """Return the commands that are not installed here."""
        return [name for name in (self.compiler, *self.emulator[:1]) if shutil.which(name) is None]

    def run(self, program: Path, *arguments: object) -> str:
        """Run a program and return what it printed.

        Raises:
            AssertionError: it failed.
        """
        command = [*self.emulator, str(program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def build(target: Target, folder: Path) -> dict[str, list[Path]]:
    """Compile library and test program, and link `folder / "kernels"`.

    Returns:
        Level -> the object files that are compiled for it.
    """
    jobs: dict[Path, tuple[Path, tuple[str, ...]]] = {}
    of_level: dict[str, list[Path]] = {}
    for level, source, flags in CSRC.level_sources(target.machine):
        flags = tuple(flag for flag in flags if not flag.startswith("-O"))
        for file in (source, HERE / "vectors.cpp") if source.stem == "inference" else (source,):
            output = folder / f"{level}_{file.stem}.o"
            jobs[output] = file, flags
            of_level.setdefault(level, []).append(output)
    for source in (*CSRC.sources(), HERE / "kernels.cpp"):
        if source.parent.name != "bindings":
            jobs[folder / f"{source.stem}.o"] = source, ()

    def compile_one(job: tuple[Path, tuple[Path, tuple[str, ...]]]) -> None:
        output, (source, flags) = job
        common = (*CSRC.COMMON, *CSRC.THREADS, f"-I{HERE}", target.optimize)
        _call(target.compiler, *common, *flags, "-c", str(source), "-o", str(output))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, jobs.items()))
    _call(target.compiler, *CSRC.THREADS, "-static", *map(str, jobs), "-o", str(folder / "kernels"))
    return of_level


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
