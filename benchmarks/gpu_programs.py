"""The alternatives of each kernel's launch on a GPU, and the time of each beside what its bytes and products need."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from typing import Any

import torch
from gpu_ways import as_graph, attempt, milliseconds, say
from torch import Tensor

from compsrt_plugin.engine_gpu import GpuEngine
from compsrt_plugin.engine_gpu.forward import Forward
from compsrt_plugin.engine_gpu.plan import Plan, Program

KINDS = ("attention", "tokens", "pixels")


def programs(kind: str) -> list[Program]:
    """Return the alternatives of one kernel."""
    if kind == "attention":
        plain = [Program(*x) for x in itertools.product((1, 2, 3, 6), (4, 8), (True, False))]
        few = [(heads, 4, number, 168) for heads in (2, 3, 6) for number in (True, False)]
        few += [(1, 4, True, 128), (1, 4, False, 128)]
        return plain + [Program(*x) for x in few]
    if kind == "tokens":
        sizes = ((16, 2), (16, 4), (16, 8), (32, 4), (32, 8), (64, 4), (128, 8))
        return [Program(*size, number) for size in sizes for number in (True, False)]
    return [Program(*x) for x in ((16, 2), (16, 4), (32, 4), (32, 8), (64, 4), (128, 4), (128, 8))]


BASE = Plan(Program(1), Program(16), Program(16))  # what the others must agree with
WRONG = 1e-2  # relative difference; a code that flips here and there makes less


class Candidate:
    """One kernel launched in one way, on noise of a size (b, h, w)."""

    def __init__(self, engine: GpuEngine, kind: str, program: Program, size: tuple[int, int, int]) -> None:
        self.kind, tensors = kind, engine._tensors
        self.forward = Forward(tensors, dataclasses.replace(BASE, **{kind: program}), (size[0], 3, *size[1:]))
        noise = torch.randn(*size, tensors.form.width, generator=torch.Generator().manual_seed(0))
        noise[..., tensors.form.channels :] = 0
        self.x = noise.to(engine.device)
        self.made = torch.empty_like(self.x)
        self.forward._attended.view(-1)[: self.x.numel()] = self.x.view(-1)
        self.blocks = [block for blocks, _ in tensors.groups for block in blocks]
        self.convs = [convs[0] for _, convs in tensors.groups]
        self.launches = len(self.convs if kind == "pixels" else self.blocks)

    def output(self, number: int = 1) -> Tensor:
        """Run the kernel for one block, or convolution, and return what it makes."""
        if self.kind == "pixels":
            return self.forward.convolve(self.convs[number], self.x, self.x)
        if self.kind == "attention":
            self.forward.attend(self.blocks[number], self.x)
            return self.forward._attended
        self.forward.finish(self.blocks[number], self.x, self.made)
        return self.made

    def all(self) -> Tensor:
        """Run the kernel for all blocks, or convolutions."""
        return [self.output(number) for number in range(self.launches)][-1]


def microseconds(engine: GpuEngine, kind: str, program: Program, size: tuple[int, int, int], wanted: Tensor) -> float:
    """Return the median time of a launch; infinite, and said, if it computes something else than `wanted`."""
    candidate = Candidate(engine, kind, program, size)
    apart = float((candidate.output() - wanted).norm() / wanted.norm())
    if not apart < WRONG:
        say(f"  WRONG by {apart:.3g}: {kind} {described(program)}")
        return float("inf")
    call = as_graph(candidate.all)
    times = [milliseconds(call) for _ in range(6)][1:]
    return 1e3 * statistics.median(times) / candidate.launches


def floor(kind: str, form: Any, tokens: int) -> tuple[float, float]:
    """Return the µs that one launch needs for its bytes, from memory, and for its products, on the tensor cores."""
    width, heads, head, hidden, n = form.width, form.heads, form.head, form.hidden, form.window**2
    rate = 4.8e12 if "H200" in torch.cuda.get_device_name() else 3.35e12
    if kind == "attention":
        moved = tokens * 4 * (width + heads * head)
        whole = tokens * 3 * width * heads * head  # int8
        halves = tokens * (2 * width**2 + heads * (6 * head**2 + n * head + 2 * n * n + 2 * n * head))
    elif kind == "tokens":
        moved = tokens * 4 * (2 * width + form.attended)
        whole = tokens * (width**2 + 2 * width * hidden)
        halves = tokens * 2 * (form.attended * width + width**2 + hidden**2)
    else:
        moved, whole, halves = tokens * 4 * 3 * width, 0, tokens * 27 * width**2
    return 1e6 * moved / rate, 1e6 * 2 * (whole / 1.979e15 + halves / 0.989e15)


def described(program: Program) -> str:
    """Return a program in a few words."""
    limit = f" {program.registers} registers" if program.registers else ""
    return f"{program.size} {program.warps} {'bytes' if program.bytes else 'halves'}{limit}"


def measured(engine: GpuEngine, kind: str, size: tuple[int, int, int], seconds: float) -> list[tuple[float, Program]]:
    """Return the alternatives of one kernel with their µs, the fastest first, as many as there is time for."""
    end, found = time.monotonic() + seconds, []
    wanted = Candidate(engine, kind, getattr(BASE, kind), size).output().clone()
    for program in programs(kind):
        if time.monotonic() > end:
            say(f"  no time for all of {kind}")
            break
        spent = attempt(f"{kind} {program}", lambda p=program: microseconds(engine, kind, p, size, wanted))
        if spent is not None:
            found.append((spent, program))
    return sorted(found, key=lambda pair: pair[0])


def sweep(engine: GpuEngine, size: tuple[int, int, int], seconds: float) -> Plan:
    """Print the time of each alternative, and return the plan of the best ones."""
    best: dict[str, Program] = {}
    for kind in KINDS:
        found = attempt(kind, lambda k=kind: measured(engine, k, size, seconds / len(KINDS))) or []
        moved, multiplied = floor(kind, engine._tensors.form, size[0] * size[1] * size[2])
        say(f"  {kind}, floors: {moved:.2f} µs memory, {multiplied:.2f} µs tensor cores; size, warps, operands: µs")
        say("   ", "; ".join(f"{described(program)}: {spent:.1f}" for spent, program in found))
        best[kind] = found[0][1] if found else getattr(BASE, kind)
    return Plan(**best)
