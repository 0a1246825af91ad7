"""Print what each stage of a plan computes, reads and writes, and its share of the machine's peak.

    python benchmarks/engine_roofline.py [FILE] [--side 64] [--rounds 5]

One thread, processor time. Operations are those that the network asks for: two for each product in linear layers,
attention and convolutions, one for each instruction of arithmetic. Transforms, codes and softmax are not counted, so
their time shows as a smaller share. Bytes are those of each step's operands and results, weights and tables left out.
The peaks are those of PyTorch's products of floats and of 8-bit integers, and of a copy, measured in the same run.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from compsrt_plugin.allocator import keep_freed_memory

keep_freed_memory()

import torch  # noqa: E402

import compsrt_plugin  # noqa: E402

compsrt_plugin.register()

from engine import noise  # noqa: E402  (needs the repairs of `register`)

from compsrt_plugin.engine import Engine  # noqa: E402
from compsrt_plugin.engine.layers import STAGES, LayersEngine  # noqa: E402
from compsrt_plugin.engine.plan import Native, PlanStep  # noqa: E402
from compsrt_plugin.native import structures as c  # noqa: E402
from compsrt_plugin.packed.bundled import WEIGHTS  # noqa: E402
from compsrt_plugin.packed.open import open_packed  # noqa: E402


def operations(step: Native) -> int:
    """Return the operations of a compiled step."""
    call: Any = step.call
    if step.name == "rows":
        layer = next((part for part in call.kept if isinstance(part, c.Linear)), None)
        return 0 if layer is None else 2 * call.rows * layer.inputs * layer.outputs
    if step.name == "attention":
        of: Any = step.more[0]
        return 4 * call.problems * of.tokens * of.keys * of.head_dim
    if step.name == "convolution":
        return 2 * 9 * call.images * call.height * call.width * call.inputs * call.outputs
    if step.name == "depthwise":
        taps = call.kernel_height * call.kernel_width
        return 2 * call.images * call.height * call.width * call.channels * taps
    if step.name in ("gram", "mix"):
        return 2 * call.rows * call.heads * call.channels**2
    return call.rows * call.channels * getattr(call, "instructions", 1)


def peaks() -> dict[str, float]:
    """Return operations and bytes per second of the machine: floats, 8-bit integers, a copy."""
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    codes, weights = (torch.randint(-8, 8, (1024, 1024), dtype=torch.int8) for _ in range(2))
    source = torch.rand(1 << 26)
    target = torch.empty_like(source)
    return {
        "floats": 2 * 1024**3 / least(lambda: torch.mm(a, b)),
        "integers": 2 * 1024**3 / least(lambda: torch._int_mm(codes, weights)),
        "bytes": 2 * 4 * source.numel() / least(lambda: target.copy_(source)),
    }


def least(call: Callable[[], object]) -> float:
    """Return the least processor time of several calls."""
    spent = []
    for _ in range(6):
        began = time.process_time()
        call()
        spent.append(time.process_time() - began)
    return min(spent)


def stage_of(step: PlanStep) -> str:
    """Return the name of a step's stage."""
    return STAGES.get(step.name, step.name) if isinstance(step, Native) else "PyTorch"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=WEIGHTS / "dat_light_x4_4bit.safetensors")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    engine, x = Engine(open_packed(args.file), threads=1), noise(args.side, args.side, 1)
    assert isinstance(engine, LayersEngine)
    engine(x)
    plan = engine._planned(x).plan
    assert plan is not None
    spent, asked, moved = defaultdict(list[float]), defaultdict(int), defaultdict(int)
    for step in plan.steps:
        stage = stage_of(step)
        moved[stage] += sum(4 * buffer.size for buffer in {*step.buffers()})
        asked[stage] += operations(step) if isinstance(step, Native) else 0
    for _ in range(args.rounds):
        of_round: dict[str, float] = defaultdict(float)
        with torch.inference_mode():
            for step, seconds in timed_steps(plan, x, engine._operators):
                of_round[stage_of(step)] += seconds
        for stage, seconds in of_round.items():
            spent[stage].append(seconds)
    found = peaks()
    print(f"{args.file.stem}, {args.side}x{args.side}, one thread, {engine.level}")
    print(", ".join(f"{name}: {value / 1e9:.1f} G/s" for name, value in found.items()))
    print("| stage | ms | M operations | MB | operations per byte | G operations/s | GB/s | nearest peak |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for stage, seconds in sorted(spent.items(), key=lambda item: -min(item[1])):
        least_, work, size = min(seconds), asked[stage], moved[stage]
        kind = "integers" if stage in ("linear", "attention") else "floats"
        share = max(work / least_ / found[kind], size / least_ / found["bytes"])
        cells = [f"{least_ * 1e3:.1f}", f"{work / 1e6:,.0f}", f"{size / 1e6:,.1f}", f"{work / size:.1f}"]
        cells += [f"{work / least_ / 1e9:.1f}", f"{size / least_ / 1e9:.1f}", f"{share:.0%}"]
        print(f"| {' | '.join([stage, *cells])} |")


def timed_steps(plan: Any, x: torch.Tensor, operators: Any) -> list[tuple[PlanStep, float]]:
    """Run a plan and return the seconds of each step."""
    memory: list[Any] = [None] * plan._size
    for buffer, constant in plan.constants.items():
        memory[buffer.number] = constant
    memory[plan._input.buffer.number] = x.contiguous()
    found = []
    for step, done in zip(plan.steps, plan._done):
        began = time.process_time()
        step.run(memory, operators)
        found.append((step, time.process_time() - began))
        for number in done:
            memory[number] = None
    return found


if __name__ == "__main__":
    main()
