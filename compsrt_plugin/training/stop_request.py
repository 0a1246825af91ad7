"""A request to stop (SIGTERM, Ctrl-C) that waits until a step is finished."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Notes SIGTERM and Ctrl-C from `listen` until `close`; a second signal acts at once, as it would have.

    Attributes:
        signal: number of the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Begin to note signals; in the main thread only, since Python knows no other way."""
        if threading.current_thread() is threading.main_thread() and not self._before:
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def close(self) -> None:
        """Give the signals back to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self.close()

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells have it: 143 after SIGTERM, 130 after Ctrl-C."""
        return 128 + self.signal
