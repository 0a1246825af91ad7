"""How many threads to compute with: what may be asked for, and what the system lets this process start.

A container can limit the number of its threads (cgroup `pids.max`, `ulimit -u`). OpenMP, with which PyTorch computes,
ends the process where one cannot be started, so it must be told before.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from compsrt_plugin.errors import CompSRTError

MOST_THREADS = 256
POOLS = 6  # with threads of their own: OpenMP, the BLAS of NumPy and that of SciPy, OpenCV, the engine, our executors
MOST_SECONDS = 1.0  # to wait for threads to be gone


def checked(name: str, threads: Any) -> int:
    """Return a number of threads that was asked for.

    Raises:
        CompSRTError: it is no integer from 1 to 256; names it `name`.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise CompSRTError(f"{name} is {threads!r}", allowed=f"integers 1 to {MOST_THREADS}")
    return threads


def cores() -> int:
    """Return how many threads to use where no one says: one per core that this process may use, at most 256."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, MOST_THREADS)


def startable(threads: int) -> int:
    """Return how many of `threads` can run here at once, the calling one included: all, or fewer under a limit.

    They are started to find out, and ended.
    """
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(threads - 1):
            thread = threading.Thread(target=done.wait)
            try:
                thread.start()
            except (RuntimeError, MemoryError):  # can't start new thread
                break
            started.append(thread)
    finally:
        done.set()
        for thread in started:
            thread.join()
        _wait_for_system(started)
    return len(started) + 1


def _wait_for_system(ended: list[threading.Thread]) -> None:
    """Wait until the system counts these threads no more; Python's `join` returns a little earlier."""
    deadline = time.monotonic() + MOST_SECONDS
    for thread in ended:
        while os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < deadline:
            time.sleep(1e-4)


def warn(asked: int, found: int) -> None:
    """Say that fewer threads compute than were asked for."""
    logging.getLogger("basicsr").warning(
        "%d of %d threads compute: the system starts no more (a limit on processes, threads or memory)", found, asked
    )


def fit_to_system() -> None:
    """Let OpenMP and BLAS use no more threads than can be started, and say so if that is fewer than they would.

    Call it before NumPy and PyTorch are imported, which read the variable this sets.
    """
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    wanted = int(said) if said.isdecimal() and int(said) else cores()
    found = startable(POOLS * (wanted - 1) + 1)
    usable = (found - 1) // POOLS + 1
    if usable < wanted:
        os.environ["OMP_NUM_THREADS"] = str(usable)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(usable)
        warn(wanted, usable)


def executor(most: int) -> Executor:
    """Return an executor of up to `most` threads, one per core, fewer under a limit.

    Where not one can be started, whoever submits work does it.
    """
    found = startable(min(most, cores()) + 1) - 1
    return ThreadPoolExecutor(found) if found else _Submitter()


class _Submitter(Executor):
    """Does the work when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
