"""Limit every library in the process to AVX2, to measure a machine without AVX-512 on one that has it.

The process starts again with two changes. The variables that limit PyTorch, oneDNN, MKL, OpenVINO and the engine are
set. Where there is a C compiler and a processor that can fault on CPUID, `without_avx512.c` is preloaded, which hides
AVX-512 from CPUID. Then no library knows of it, not even those without a variable (ONNX Runtime). `evidence` reports
what was limited.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from compsrt_plugin.native import LEVEL_VARIABLE, levels

SOURCE = Path(__file__).with_suffix(".c")
VARIABLES = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OV_CPU_MAX_ISA": "AVX2",
    LEVEL_VARIABLE: "avx2",
}
STARTED = "COMPSRT_BENCHMARK_WITHOUT_AVX512"  # set in the process that was started again


def start_again() -> None:
    """Replace this process by one limited to AVX2, and return in that one."""
    if STARTED in os.environ:
        return
    variables = {**os.environ, **VARIABLES, STARTED: "1"}
    preloaded = _compiled(Path(tempfile.mkdtemp()))
    if preloaded is not None:
        variables["LD_PRELOAD"] = str(preloaded)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.argv], variables)


def _compiled(folder: Path) -> Path | None:
    """Return the library to preload; None where it cannot be built."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    target = folder / "without_avx512.so"
    done = subprocess.run([compiler, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(target)], capture_output=True)
    return target if done.returncode == 0 else None


def hidden() -> bool:
    """Return whether CPUID hides AVX-512 in this process, by the compiled library's own detection."""
    found = [level.name for level in levels()]
    return bool(found) and not any(name.startswith("avx512") for name in found)


def evidence() -> str:
    """Return lines that say which libraries are limited, and how."""
    by_processor = "yes" if hidden() else "no: what has no variable (ONNX Runtime) is not limited"
    return "\n".join(
        (
            "limited to AVX2; libc's copies are not",
            f"  AVX-512 is hidden from CPUID: {by_processor}",
            f"  PyTorch says: {torch.backends.cpu.get_cpu_capability()}",
            "  MKL and oneDNN say so with MKL_VERBOSE=1 ONEDNN_VERBOSE=1; OpenVINO's kernels are named below",
        )
    )
