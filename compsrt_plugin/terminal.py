"""Write to the terminal, a file or a pipe: any text, closed readers, progress bars."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

TrackProgress = Callable[[list[Any]], Iterable[Any]]
"""Wraps a list to track progress, as `tqdm` does."""

LINE_EVERY = 30.0  # seconds between two progress lines if there is no bar
_LINE = "{desc}: {n:,.%df} of {total:,.%df} {unit}, {elapsed} so far, about {remaining} left"
_LINE_WITHOUT_END = "{desc}: {n:,.0f} {unit}, {elapsed} so far"


def prepare_streams() -> None:
    """Make stdout and stderr exist and accept any text.

    Characters that the encoding lacks (an ASCII locale, a file name that is not UTF-8) are escaped. Output to a stream
    that the parent process closed is dropped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  (open until the process ends)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Drop buffered output that cannot be written. Otherwise Python would fail to write it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)


def reader_is_gone() -> bool:
    """Return whether stdout or stderr is a pipe with a closed reader, as in `basicsr doctor | head -1`."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has no poll; a stream may have no file
            poll = select.poll()
            poll.register(stream.fileno(), select.POLLOUT)
            if any(events & select.POLLERR for _, events in poll.poll(0)):
                return True
    return False


def progress(iterable: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> Any:
    """Return a `tqdm`: a bar on a terminal or in a notebook; otherwise a log line every half minute.

    Args:
        iterable: what to iterate over. If None, `update` counts.
        shown: whether to show progress, false in all processes but the first.
        **options: options of `tqdm.tqdm`.
    """
    from tqdm import tqdm  # not at the top: `basicsr --help` does not need it

    if not shown:
        options["disable"] = True
    elif not _shows_bars():
        total = options.get("total", len(iterable) if hasattr(iterable, "__len__") else None)  # type: ignore[arg-type]
        places = 2 if isinstance(total, float) else 0  # small files are 0.25 MB, not 0
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
    """Set the label of a bar of `progress`. In a log, the next line shows it."""
    bar.set_description_str(name, refresh=_shows_bars())  # tqdm's `set_description` would add a second colon


@contextlib.contextmanager
def log_from(level: int) -> Iterator[None]:
    """Show only what BasicSR's logger says at this level or above, and progress bars."""
    logger = logging.getLogger("basicsr")
    before = logger.level
    logger.setLevel(max(before, level))
    try:
        yield
    finally:
        logger.setLevel(before)


def _shows_bars() -> bool:
    """Return whether stderr is a terminal, or the output of a notebook's cell."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")


class _Log(io.TextIOBase):
    """A file for tqdm that turns each drawing of the bar into a log line."""

    def write(self, text: str) -> int:
        line = text.strip()
        logger = logging.getLogger("basicsr")
        if line and logger.handlers and logger.isEnabledFor(logging.INFO):
            logger.info(line)
        elif line:
            sys.stderr.write(f"{line}\n")
        return len(text)
