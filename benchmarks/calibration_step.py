"""Compare time and memory of one calibration step with their floor, at the same batch, in one run.

    python benchmarks/calibration_step.py [--scale 4] [--bits 3] [--recipe plus] [--batch 1] [--patch 64]
                                          [--repeats 5] [--threads 2] [--cpu]

The floor is one forward and backward pass of the full-precision student plus one forward pass of the teacher. Times are
medians. Floor and step take turns, so that both meet the same load; on a busy machine, `--cpu --threads 1` counts the
CPU seconds of this process. Memory is the peak of a separate process above what it held before, gradients included.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import compsrt_plugin
from compsrt_plugin import native
from compsrt_plugin.config.quant_options import resolve, resolve_distill
from compsrt_plugin.packed import load_weights
from compsrt_plugin.packed.bundled import teacher_path
from compsrt_plugin.quant import Quantizer, calibrate, fake

compsrt_plugin.register()

# these need the repairs of `register`
from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR  # noqa: E402
from compsrt_plugin.training.trainer import Trainer  # noqa: E402

PARTS = {  # the functions that the breakdown times, forward and backward
    "compiled transform and fake quantization, forward": [(native, "fake_quantize")],
    "the same and its gradients, backward": [(native, "fake_quantize_backward")],
    "transform in torch": [(Quantizer, "transform")],
    "inverse transform in torch": [(Quantizer, "inverse")],
    "fake quantization in torch, forward": [(fake.StrictFakeQuantize, "forward")],
    "fake quantization in torch, backward": [(fake.StrictFakeQuantize, "backward")],
}


class Bench:
    """A student, its teacher and a batch.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        weights = load_weights(teacher_path(options.scale))
        self.networks = [CompSRTSwinIR(upscale=options.scale) for _ in range(3)]
        for network in self.networks:
            network.load_state_dict(weights)
            network.eval()
        self.plain, student, self.teacher = self.networks
        self.teacher.requires_grad_(False)
        torch.manual_seed(0)
        self.lq = torch.rand(options.batch, 3, options.patch, options.patch)
        student.quantize(resolve({"recipe": options.recipe, "bits": options.bits}).spec)
        calibrate(student, [self.lq[:1]])
        self.trainer = Trainer(student, self.teacher, resolve_distill(options.recipe, None), ema_decay=0.0)
        self.optimizer = torch.optim.Adam(self.trainer.parameters.groups(1e-4))

    def teacher_forward(self) -> Tensor:
        """Run the teacher."""
        with torch.no_grad():
            return self.teacher(self.lq)

    def floor(self) -> None:
        """Run the part that every calibration step needs."""
        wanted = self.teacher_forward()
        self.plain.zero_grad(set_to_none=True)
        F.l1_loss(self.plain(self.lq), wanted).backward()

    def step(self) -> None:
        """Run one iteration of calibration."""
        self.trainer.step(self.optimizer, self.lq, None)

    def student_forward(self) -> None:
        """Run the student with a graph, and discard the graph."""
        self.trainer.student(self.lq)

    def after_backward(self) -> None:
        """Check and clip the gradients of the last iteration, and step."""
        self.trainer.parameters.not_finite()
        self.trainer.parameters.clip_gradients()
        self.trainer.parameters.step(self.optimizer)


def seconds(action: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Return the seconds of an action by the given clock."""
    began = clock()
    action()
    return clock() - began


def timed_parts(bench: Bench, clock: Callable[[], float]) -> dict[str, float]:
    """Run one step with a clock in each of `PARTS` and return their seconds."""
    spent: dict[str, float] = defaultdict(float)
    before = []
    for part, places in PARTS.items():
        for owner, name in places:
            original = getattr(owner, name)
            before.append((owner, name, vars(owner)[name]))

            def clocked(*args: Any, _original: Callable = original, _part: str = part, **named: Any) -> Any:
                began = clock()
                try:
                    return _original(*args, **named)
                finally:
                    spent[_part] += clock() - began

            wrapped = functools.wraps(original)(clocked)
            setattr(owner, name, staticmethod(wrapped) if isinstance(vars(owner)[name], staticmethod) else wrapped)
    try:
        bench.step()
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)
    return spent


def peak_growth(what: str) -> int:
    """Return the bytes by which a separate process grows while it runs `what`, `floor` or `step`."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", what]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def growth(action: Callable[[], Any]) -> int:
    """Return the bytes by which this process's resident memory peaks above its present size (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)  # memory that the bound search freed would hide a part of the peak
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = status("VmRSS")
    action()
    return status("VmHWM") - before


def status(field: str) -> int:
    """Return a size in /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    """Print both ratios and the breakdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--bits", type=int, default=3)
    parser.add_argument("--recipe", default="plus")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--memory-of", choices=["floor", "step"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu else time.perf_counter
    bench = Bench(options)
    actions = {"floor": bench.floor, "step": bench.step}
    if options.memory_of:
        print(growth(actions[options.memory_of]))
        return
    for action in actions.values():
        action()
    times: dict[str, list[float]] = defaultdict(list)
    rows = {**actions, "teacher forward": bench.teacher_forward, "student forward": bench.student_forward}
    rows["check, clip, optimizer"] = bench.after_backward
    for _ in range(options.repeats):
        for name, action in rows.items():
            times[name].append(seconds(action, clock))
        for name, spent in timed_parts(bench, clock).items():
            times[name].append(spent)
    middle = {name: statistics.median(values) for name, values in times.items()}
    memory = {name: peak_growth(name) for name in actions}
    print(
        f"x{options.scale}, {options.bits} bits, recipe {options.recipe}, batch {options.batch} of "
        f"{options.patch} x {options.patch}, {options.threads} threads, median of {options.repeats}"
        f"{', CPU seconds' if options.cpu else ''}"
    )
    for name, value in middle.items():
        print(f"  {name:<52}{value * 1e3:>9.0f} ms{value / middle['step']:>8.1%} of a step")
    ratios = [a / b for a, b in zip(times["step"], times["floor"])]
    print(f"step / floor, time:   {statistics.median(ratios):.2f}  (from {min(ratios):.2f} to {max(ratios):.2f})")
    print(
        f"step / floor, memory: {memory['step'] / memory['floor']:.2f}  "
        f"({memory['step'] / 1e6:,.0f} MB against {memory['floor'] / 1e6:,.0f} MB)"
    )


if __name__ == "__main__":
    main()
