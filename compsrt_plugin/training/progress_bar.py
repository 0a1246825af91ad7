"""The progress bar of calibration: loss and its terms, PSNR on held-out pictures, time left."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class Progress:
    """A bar on a terminal; nothing where the output is a file (BasicSR's log lines are there) or not ours.

    Args:
        total: number of iterations.
        done: how many are done already.
        shown: false in all processes but the first.
    """

    def __init__(self, total: int, done: int, shown: bool) -> None:
        self._bar = tqdm(total=total, initial=done, desc="calibration", unit="it", disable=None if shown else True)
        self._redirection = contextlib.ExitStack()
        if not self._bar.disable:  # log lines go above the bar, not through it
            self._redirection.enter_context(logging_redirect_tqdm([logging.getLogger("basicsr")]))

    def show(self, losses: Mapping[str, float], psnr: float | None) -> None:
        """Count one iteration.

        Args:
            losses: `total` and the terms.
            psnr: the last one on the held-out pictures, in dB.
        """
        told = {name: f"{value:.2e}" for name, value in losses.items()}
        if psnr is not None:
            told["held out"] = f"{psnr:.2f} dB"
        self._bar.set_postfix(told, refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Leave the bar as it is and give the log its place back."""
        self._bar.close()
        self._redirection.close()
