"""The kernels compile for a GPU at the sizes of SwinIR-light, which running them in the interpreter does not show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compsrt_plugin.bundled import checkpoint_path

pytest.importorskip("triton")
SHARED = 227 * 1024  # bytes that a program has on Hopper


def test_they_compile_for_hopper() -> None:
    script = Path(__file__).with_name("compiled.py")
    files = [str(checkpoint_path(4, bits)) for bits in (3, 4)]  # scales of tokens, and of tensors
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, script, *files], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    kernels = [line.split() for line in done.stdout.splitlines()]
    assert {kernel[0] for kernel in kernels} == {f"{x}_kernel" for x in ("attention", "tokens", "norm", "convolution")}
    assert all(int(kernel[-1]) <= SHARED for kernel in kernels)
