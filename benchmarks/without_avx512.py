"""Measuring what a machine without AVX-512 would do on one that has it: everybody is limited to AVX2.

Two things are done to the process, which starts again for it. The variables that limit PyTorch, oneDNN, MKL, OpenVINO
and the engine are set. And where there is a C compiler and a processor that can fault on CPUID, `without_avx512.c` is
preloaded, which leaves AVX-512 out of what the processor says of itself: no library can then know of it, those without
a variable included (ONNX Runtime). What was reached is told by `evidence`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from compsrt_plugin.engine.library import LEVEL_VARIABLE, library

SOURCE = Path(__file__).with_suffix(".c")
VARIABLES = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OV_CPU_MAX_ISA": "AVX2",
    LEVEL_VARIABLE: "avx2",
}
STARTED = "COMPSRT_BENCHMARK_WITHOUT_AVX512"  # set once the process was started again


def start_again() -> None:
    """Replace this process by one that knows AVX2 at most; returns in that one."""
    if STARTED in os.environ:
        return
    variables = {**os.environ, **VARIABLES, STARTED: "1"}
    preloaded = _compiled(Path(tempfile.mkdtemp()))
    if preloaded is not None:
        variables["LD_PRELOAD"] = str(preloaded)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.argv], variables)


def _compiled(folder: Path) -> Path | None:
    """Return the library to preload, or None where it cannot be made."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    target = folder / "without_avx512.so"
    done = subprocess.run([compiler, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(target)], capture_output=True)
    return target if done.returncode == 0 else None


def hidden() -> bool:
    """Whether this process's processor denies AVX-512, asked by the engine's own CPUID."""
    loaded = library()
    return loaded is not None and loaded.compsrt_level(b"") != b"avx512"


def evidence() -> str:
    """Return, line by line, who is known to be limited and by what."""
    by_processor = "yes" if hidden() else "no: what has no variable (ONNX Runtime) is not limited"
    return "\n".join(
        (
            "limited to AVX2; libc's copies are not",
            f"  AVX-512 is hidden from CPUID: {by_processor}",
            f"  PyTorch says: {torch.backends.cpu.get_cpu_capability()}",
            "  MKL and oneDNN say so with MKL_VERBOSE=1 ONEDNN_VERBOSE=1; OpenVINO's kernels are named below",
        )
    )
