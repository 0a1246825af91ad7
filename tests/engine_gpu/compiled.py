"""Compile every kernel of a packed network for Hopper without a GPU, by the launches of a forward pass.

    python tests/engine_gpu/compiled.py FILE.safetensors…

The interpreter accepts what the compiler refuses: sizes of tiles, types of products. Prints registers, bytes spilled
and shared memory of each.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from compsrt_plugin.engine_gpu import forward
from compsrt_plugin.engine_gpu.network import network_tensors
from compsrt_plugin.engine_gpu.plan import plan_for
from compsrt_plugin.packed_network import open_packed

PTXAS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"


class NoGpu:
    """A driver that says what to compile for."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


class Compiling:
    """A kernel that is compiled where it would be launched."""

    def __init__(self, kernel: Any, found: dict[str, Any]) -> None:
        self.kernel, self.found = kernel, found

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def compiled(*arguments: Any, **constants: Any) -> None:
            made = self.kernel.warmup(*arguments, grid=grid, **constants)
            self.found[made.hash] = made

        return compiled


def described(made: Any) -> str:
    """Return what the assembler says of a compiled kernel."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(made.asm["ptx"])
        file.flush()
        done = subprocess.run([PTXAS, "-v", "--gpu-name=sm_90a", file.name, "-o", "/dev/null"], capture_output=True)
    said = done.stderr.decode()
    registers, spilled = re.search(r"Used (\d+) registers", said), re.search(r"(\d+) bytes spill stores", said)
    assert registers and spilled, said
    return f"{made.name} registers {registers[1]} spilled {spilled[1]} shared {made.metadata.shared}"


def main(paths: list[str]) -> None:
    """Compile what the networks in these files need for a picture."""
    driver.set_active(NoGpu())
    found: dict[str, Any] = {}
    for name in ("ATTENTION", "TOKENS", "NORM", "CONVOLUTION"):
        setattr(forward, name, Compiling(getattr(forward, name), found))
    shape = (1, 3, 16, 16)
    for path in paths:
        tensors = network_tensors(open_packed(path).network, torch.device("cpu"))
        forward.Forward(tensors, plan_for(tensors.form, shape), shape)(torch.zeros(shape))
    for made in found.values():
        print(described(made))


if __name__ == "__main__":
    main(sys.argv[1:])
