"""Writing to the terminal, or to what stands in its place: a file, a pipe that was closed, an old encoding."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import sys
from collections.abc import Callable, Iterable
from typing import Any

TrackProgress = Callable[[list[Any]], Iterable[Any]]
"""Wraps a list while it is worked through, as `tqdm` does."""

LINE_EVERY = 30.0  # seconds between two lines of progress where there is no bar
_LINE = "{desc}: {n:,.%df} of {total:,.%df} {unit}, {elapsed} so far, about {remaining} left"
_LINE_WITHOUT_END = "{desc}: {n:,.0f} {unit}, {elapsed} so far"


def prepare_streams() -> None:
    """Let stdout and stderr take any text, and let there be both.

    Characters that an encoding lacks (an ASCII locale, a file name that is no UTF-8) are escaped instead of failing,
    and what is written to a stream that the parent process closed is dropped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  (open as long as the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Drop what stdout holds where it cannot be written, or Python would try it once more, and fail, when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)


def reader_is_gone() -> bool:
    """Tell whether stdout or stderr is a pipe whose reader has left, as with `basicsr doctor | head -1`."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # no poll on Windows; no file behind the stream
            poll = select.poll()
            poll.register(stream.fileno(), select.POLLOUT)
            if any(events & select.POLLERR for _, events in poll.poll(0)):
                return True
    return False


def progress(iterable: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> Any:
    """Return a `tqdm`: a bar on a terminal, and a line of the log every half minute where stderr is none.

    Args:
        iterable: what is gone through; None: `update` counts.
        shown: false in all processes but the first.
        **options: of `tqdm.tqdm`.
    """
    from tqdm import tqdm  # not above: `basicsr --help` does without

    if not shown:
        options["disable"] = True
    elif not sys.stderr.isatty():
        total = options.get("total", len(iterable) if hasattr(iterable, "__len__") else None)  # type: ignore[arg-type]
        places = 2 if isinstance(total, float) else 0  # small images are 0.25 of a megapixel, not 0
        options.update(
            file=_Log(),
            bar_format=_LINE_WITHOUT_END if total is None else _LINE % (places, places),
            delay=LINE_EVERY,
            mininterval=LINE_EVERY,
            maxinterval=LINE_EVERY,
            dynamic_ncols=False,
            leave=False,
        )
    return tqdm(iterable, **options)


def name_step(bar: Any, name: str) -> None:
    """Give a bar of `progress` the name of what is done now; in a log it is in the next line."""
    bar.set_description_str(name, refresh=sys.stderr.isatty())  # tqdm's `set_description` would add a second colon


class _Log(io.TextIOBase):
    """The file that tqdm draws its bar in; each drawing becomes a line."""

    def write(self, text: str) -> int:
        line = text.strip()
        logger = logging.getLogger("basicsr")
        if line and logger.handlers:
            logger.info(line)
        elif line:
            sys.stderr.write(f"{line}\n")
        return len(text)
