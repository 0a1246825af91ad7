"""How the C++ library is compiled: its files, its levels of instructions and their flags.

setup.py and the tests in tests/csrc run this file; it imports nothing of the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parent
QUIET = ("-Wno-uninitialized", "-Wno-maybe-uninitialized")  # GCC 12 warns of its own AVX-512 headers
COMMON = ("-std=c++17", "-g0", "-fvisibility=hidden", "-Wno-psabi", *QUIET, f"-I{SOURCES}")
THREADS = ("-pthread", "-fopenmp")

LEVELS = {
    "x86_64": {
        "avx512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mavx2", "-mfma"),
        "avxvnni": ("-mavxvnni", "-mavx2", "-mfma"),
        "avx2": ("-mavx2", "-mfma"),
        "plain": (),
    },
    "aarch64": {"neon": ("-march=armv8.2-a+dotprod",), "plain": ()},
}
"""Processor -> level -> flags, best level first, as in `simd/level_names.h`; other processors have `plain` alone."""

KERNELS = {"kernels/calibration.cpp": ("-O2", "-ffp-contract=off"), "kernels/inference.cpp": ("-O3",)}
"""What is compiled once a level, with its flags. Calibration takes five times as long to compile with -O3."""


def level_sources(machine: str) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    """Yield (level, source file, flags beyond `COMMON` and `THREADS`) of each file that is compiled for a level.

    Args:
        machine: as `platform.machine` names it.
    """
    for level, instructions in LEVELS.get(machine, {"plain": ()}).items():
        for source, flags in KERNELS.items():
            yield level, SOURCES / source, (*flags, *instructions, f"-DCOMPSRT_LEVEL={level}")


def sources() -> list[Path]:
    """Return the files that are compiled once, in order."""
    return sorted(path for path in SOURCES.rglob("*.cpp") if path.parent.name != "kernels")


def headers() -> list[Path]:
    """Return the files that others include, in order."""
    return sorted(SOURCES.rglob("*.h"))
