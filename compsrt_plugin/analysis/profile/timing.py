"""Timing several calls in turns, so that what slows the machine down for a while slows all of them down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

WARM_UP = 2  # calls that do not count
SCATTERED = 1.5  # times the 5th percentile: from there on the 95th says that something else ran too
PAUSE = 0.01  # seconds before each call: threads of the one before stop waiting for work


@dataclass(frozen=True)
class Timing:
    """Times of one way, in the order of the rounds.

    Attributes:
        seconds: of each call.
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
        """Whether the rounds lie so far apart that a median says little of the machine at rest."""
        return self.percentile_ms(95) > SCATTERED * self.percentile_ms(5)

    def above_ms(self, other: Timing) -> float:
        """Return the median over the rounds of how much longer this took than `other` in the same round."""
        return 1e3 * float(np.median(np.subtract(self.seconds, other.seconds)))


def interleaved(
    calls: Mapping[str, Callable[[], object]], runs: int, each: Callable[[], object] = lambda: None
) -> dict[str, Timing]:
    """Time every call once a round, each round beginning with another.

    Args:
        calls: by name.
        runs: rounds.
        each: called after every call that counts, as for a progress bar.
    """
    names = list(calls)
    for name in names:
        for _ in range(WARM_UP):
            calls[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(runs):
        first = turn % len(names) if names else 0
        for name in names[first:] + names[:first]:
            time.sleep(PAUSE)
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
            each()
    return {name: Timing(tuple(found)) for name, found in seconds.items()}
