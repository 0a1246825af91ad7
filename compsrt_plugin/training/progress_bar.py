"""The progress bar of a training run: loss and its terms, PSNR on held-out images, remaining time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class ProgressBar:
    """Show progress on a terminal; show nothing where the output is a file, which has BasicSR's log lines.

    Args:
        total: number of iterations.
        done: number of iterations done already.
        shown: false in all processes but the first.
    """

    def __init__(self, total: int, done: int, shown: bool) -> None:
        self._bar = tqdm(total=total, initial=done, desc="calibration", unit="it", disable=None if shown else True)
        self._redirection = contextlib.ExitStack()
        if not self._bar.disable:  # log lines appear above the bar
            self._redirection.enter_context(logging_redirect_tqdm([logging.getLogger("basicsr")]))

    def update(self, losses: Mapping[str, float], psnr: float | None) -> None:
        """Count one iteration.

        Args:
            losses: `total` and the terms.
            psnr: the latest PSNR on held-out images, in dB; None before there is one.
        """
        told = {name: f"{value:.2e}" for name, value in losses.items()}
        if psnr is not None:
            told["held out"] = f"{psnr:.2f} dB"
        self._bar.set_postfix(told, refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Leave the bar on the screen as it is, and stop redirecting the log."""
        self._bar.close()
        self._redirection.close()
