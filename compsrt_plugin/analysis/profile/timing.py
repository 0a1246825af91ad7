"""Time several calls in turns, so that a temporary load on the machine affects all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

WARM_UP = 2  # calls before the timed ones; one of a call that takes longer than `SLOW`
SLOW = 0.2  # seconds
FEWEST_ROUNDS = 3
MOST_ROUNDS = 10  # where their number is not given
SECONDS = 6.0  # within which rounds begin where their number is not given
SCATTERED = 1.5  # ratio of 95th to 5th percentile above which the machine was busy
PAUSE = 0.01  # seconds before each call, in which the threads of the previous call stop waiting for work


@dataclass(frozen=True)
class Timing:
    """The times of one way.

    Attributes:
        seconds: of each call, in the order of the rounds.
    """

    seconds: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """Median in milliseconds."""
        return self.percentile_ms(50)

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile in milliseconds, interpolated."""
        return 1e3 * float(np.percentile(self.seconds, percent))

    @property
    def scattered(self) -> bool:
        """Whether the rounds differ so much that the median does not represent an idle machine."""
        return self.percentile_ms(95) > SCATTERED * self.percentile_ms(5)

    def above_ms(self, other: Timing) -> float:
        """Return the median over the rounds of the extra milliseconds compared with `other`."""
        return 1e3 * float(np.median(np.subtract(self.seconds, other.seconds)))


def interleaved(calls: Mapping[str, Callable[[], object]], runs: int | None = None) -> dict[str, Timing]:
    """Return the times of every call, once per round. Each round starts with a different call.

    Args:
        calls: name -> call.
        runs: number of rounds. None: as many as begin within `SECONDS`, `FEWEST_ROUNDS` to `MOST_ROUNDS`.
    """
    names = list(calls)
    for name in names:
        for _ in range(WARM_UP):
            if _seconds_of(calls[name]) > SLOW:
                break
    seconds: dict[str, list[float]] = {name: [] for name in names}
    begin = time.perf_counter()
    for turn in range(runs or MOST_ROUNDS):
        if runs is None and turn >= FEWEST_ROUNDS and time.perf_counter() - begin > SECONDS:
            break
        first = turn % len(names) if names else 0
        for name in names[first:] + names[:first]:
            time.sleep(PAUSE)
            seconds[name].append(_seconds_of(calls[name]))
    return {name: Timing(tuple(found)) for name, found in seconds.items()}


def _seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
