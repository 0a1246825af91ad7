"""Stop requests (SIGTERM, Ctrl-C) that wait until a step is finished."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Record SIGTERM and Ctrl-C between `listen` and `close`; a second signal acts at once, as without this class.

    Attributes:
        signal: number of the signal that arrived, or 0.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Start to record signals; does nothing outside the main thread, where Python forbids it."""
        if threading.current_thread() is threading.main_thread() and not self._before:
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def close(self) -> None:
        """Restore the signal handlers of before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self.close()

    @property
    def exit_code(self) -> int:
        """The exit code that shells expect, 128 + the signal's number: 143 after SIGTERM, 130 after Ctrl-C."""
        return 128 + self.signal
