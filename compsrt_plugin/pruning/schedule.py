"""Gradual pruning: the pruned fraction at each iteration of calibration."""

from __future__ import annotations

from dataclasses import dataclass

from compsrt_plugin.errors import CompSRTError


@dataclass(frozen=True)
class Schedule:
    """The growth of the pruned fraction over iterations (Zhu & Gupta, arXiv 1710.01878).

    At step k of n the pruned fraction is

        cubic:   ratio * (1 - (1 - k / n)^3)
        linear:  ratio * k / n

    with steps at `start`, `start + every`, … and the full ratio from `end` on.

    Attributes:
        start: iteration of the first step.
        end: iteration from which the full ratio is pruned; `start = end = 0` prunes once, before the first iteration.
        every: number of iterations between two steps.
        curve: `cubic` or `linear`.

    Raises:
        CompSRTError: `end` before `start`, or `every` below 1.
    """

    start: int = 0
    end: int = 0
    every: int = 100
    curve: str = "cubic"

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise CompSRTError(f"prune.start is {self.start}, prune.end {self.end}", allowed="0 <= start <= end")
        if self.every < 1:
            raise CompSRTError(f"prune.every is {self.every}", allowed="integers from 1")
        if self.curve not in ("cubic", "linear"):
            raise CompSRTError(f"prune.curve is {self.curve!r}", allowed="cubic, linear")

    def ratio(self, iteration: int, final: float) -> float:
        """Return the pruned fraction at `iteration`; `final` from `end` on.

        >>> schedule = Schedule(start=0, end=400, every=100)
        >>> [round(schedule.ratio(i, 0.4), 3) for i in (0, 99, 100, 200, 300, 400, 9999)]
        [0.0, 0.0, 0.231, 0.35, 0.394, 0.4, 0.4]
        """
        if iteration >= self.end:
            return final
        if iteration <= self.start:
            return 0.0
        done = (iteration - self.start) // self.every * self.every / (self.end - self.start)
        return final * (done if self.curve == "linear" else 1 - (1 - done) ** 3)

    def is_step(self, iteration: int) -> bool:
        """Return whether masks must be computed again at `iteration`, because the fraction changes."""
        return iteration > 0 and self.ratio(iteration, 1.0) != self.ratio(iteration - 1, 1.0)
