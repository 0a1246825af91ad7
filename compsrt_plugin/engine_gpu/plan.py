"""How much a program of each kernel takes on, and with what: none of it changes what is computed.

`benchmarks/gpu_engine.py` measures the alternatives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd
from typing import Any

from compsrt_plugin.engine_gpu.block import Form


@dataclass(frozen=True)
class Program:
    """How one kernel is launched.

    Attributes:
        size: heads of a window for attention, a divisor of the network's; tokens or pixels for the others, a power
            of two, 16 to 128.
        warps: of a program, a power of two.
        bytes: whether codes of linear layers are multiplied as bytes, else as halves, which are exact too.
        registers: most for a thread; None leaves them to the compiler. With fewer, more programs run at once.
    """

    size: int
    warps: int = 4
    bytes: bool = True
    registers: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What Triton is told at the launch."""
        return {"num_warps": self.warps, "maxnreg": self.registers}


@dataclass(frozen=True)
class Plan:
    """How the three kernels are launched."""

    attention: Program
    tokens: Program
    pixels: Program


FEW = Plan(Program(1), Program(16), Program(16))  # many small programs: else a part of the GPU waits
MANY = Plan(Program(2), Program(64), Program(64))  # what several heads of a window share is computed once
FEW_WINDOWS = 300


def plan_for(form: Form, shape: tuple[int, ...]) -> Plan:
    """Return the plan for a network of this form on inputs of this shape (b, c, h, w)."""
    plan = FEW if shape[0] * shape[2] * shape[3] <= FEW_WINDOWS * form.window**2 else MANY
    return replace(plan, attention=replace(plan.attention, size=gcd(plan.attention.size, form.heads)))
