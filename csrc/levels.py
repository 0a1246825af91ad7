"""How the C++ library is compiled: its files, its levels of instructions and their flags.

setup.py and the tests in tests/csrc run this file; it imports nothing of the package.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

SOURCES = Path(__file__).parent
# GCC 12 warns of its own AVX-512 headers, and Clang of a warning that it does not know
QUIET = ("-Wno-uninitialized", "-Wno-maybe-uninitialized", "-Wno-unknown-warning-option")
COMMON = ("-std=c++17", "-g0", "-fvisibility=hidden", "-Wno-psabi", *QUIET, f"-I{SOURCES}")
# Apple's and Microsoft's systems come without OpenMP. There calibration runs on one thread; the engine has its own.
THREADS = ("-pthread", "-fopenmp") if platform.system() == "Linux" else ("-pthread", "-Wno-unknown-pragmas")

AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2", "-mfma")
LEVELS = {
    "x86_64": {
        "avx512": (*AVX512, "-mavx512vnni"),
        "avx512bw": AVX512,
        "avxvnni": ("-mavxvnni", "-mavx2", "-mfma"),
        "avx2": ("-mavx2", "-mfma"),
        "plain": (),
    },
    "aarch64": {"neon": ("-march=armv8.2-a+dotprod",), "plain": ()},
}
"""Processor -> level -> flags, best level first, as in `simd/level_names.h`; other processors have `plain` alone."""

SAME = {"AMD64": "x86_64", "arm64": "aarch64"}
"""What Windows and macOS call a processor -> what Linux calls it."""

KERNELS = {"kernels/calibration.cpp": ("-O2", "-ffp-contract=off"), "kernels/inference.cpp": ("-O3",)}
"""What is compiled once a level, with its flags. Calibration takes five times as long to compile with -O3."""


def level_sources(machine: str) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    """Yield (level, source file, flags beyond `COMMON` and `THREADS`) of each file that is compiled for a level.

    Args:
        machine: as `platform.machine` names it.
    """
    for level, instructions in LEVELS.get(SAME.get(machine, machine), {"plain": ()}).items():
        for source, flags in KERNELS.items():
            yield level, SOURCES / source, (*flags, *instructions, f"-DCOMPSRT_LEVEL={level}")


def for_clang_cl(flags: Sequence[str]) -> list[str]:
    """Return flags in the spelling of clang-cl, the driver of Clang that takes the place of Microsoft's compiler."""
    kept = [flag for flag in flags if flag not in ("-pthread", "-fopenmp")]
    return [flag if flag.startswith(("-I", "-D")) else f"/clang:{flag}" for flag in kept]


def sources() -> list[Path]:
    """Return the files that are compiled once, in order."""
    return sorted(path for path in SOURCES.rglob("*.cpp") if path.parent.name != "kernels")


def headers() -> list[Path]:
    """Return the files that others include, in order."""
    return sorted(SOURCES.rglob("*.h"))
