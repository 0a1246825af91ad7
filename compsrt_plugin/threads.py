"""Choose the number of threads: what a user may request, and what the system allows.

A container may limit the number of threads (cgroup `pids.max`, `ulimit -u`). OpenMP, which PyTorch uses, ends the
process if a thread cannot be started, so the number must be reduced before.
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
POOLS = 6  # thread pools: OpenMP, the BLAS of NumPy and of SciPy, OpenCV, the engine, our executors
MOST_SECONDS = 1.0  # maximum wait for threads to end


def checked(name: str, threads: Any) -> int:
    """Return a requested number of threads.

    Args:
        name: the user's name for it, for the message.
        threads: the requested number.

    Raises:
        CompSRTError: it is not an integer from 1 to 256.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise CompSRTError(f"{name} is {threads!r}", allowed=f"integers 1 to {MOST_THREADS}")
    return threads


def cores() -> int:
    """Return the default number of threads: one per core that this process may use, at most 256."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, MOST_THREADS)


def startable(threads: int) -> int:
    """Return how many of `threads` can run at once, including the calling thread. A limit may allow fewer.

    This starts the threads and ends them.
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
    """Wait until the system no longer counts these threads. Python's `join` returns a little earlier."""
    deadline = time.monotonic() + MOST_SECONDS
    for thread in ended:
        while os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < deadline:
            time.sleep(1e-4)


def warn(asked: int, found: int) -> None:
    """Log that fewer threads compute than requested."""
    logging.getLogger("basicsr").warning(
        "%d of %d threads compute: the system starts no more (a limit on processes, threads or memory)", found, asked
    )


def fit_to_system() -> None:
    """Limit OpenMP and BLAS to the threads that can be started, and log a reduction.

    Call this before NumPy and PyTorch are imported, because they read the variable that it sets.
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

    If no thread can be started, work runs in the thread that submits it.
    """
    found = startable(min(most, cores()) + 1) - 1
    return ThreadPoolExecutor(found) if found else _Submitter()


class _Submitter(Executor):
    """Runs work when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return a finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
