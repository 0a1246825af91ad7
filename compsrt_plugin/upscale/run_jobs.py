"""Run the jobs one after the other: skip finished images, report failures, show progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from compsrt_plugin.buckets import Place
from compsrt_plugin.data.bucket_journal import AnyJournal, journal_of
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import Tile
from compsrt_plugin.terminal import name_step, progress
from compsrt_plugin.upscale.jobs import UpscaleJob
from compsrt_plugin.upscale.one_image import UpscaleTask, failure_of, make_image, task_of
from compsrt_plugin.upscale.open_network import OpenNetwork

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.2f}/{total:.2f} MB [{elapsed}<{remaining}{postfix}]"


@dataclass
class UpscaleSummary:
    """The outcome of a run.

    Attributes:
        made: number of images made.
        skipped: number of images that were there already.
        failures: one line per failed image.
        megapixels: of the results made.
        seconds: the time that the run took.
    """

    made: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    megapixels: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: UpscaleSummary) -> UpscaleSummary:
        """Return the summary of two runs at the same time."""
        return UpscaleSummary(
            self.made + other.made,
            self.skipped + other.skipped,
            self.failures + other.failures,
            self.megapixels + other.megapixels,
            max(self.seconds, other.seconds),
        )

    def text(self) -> str:
        """Return one line for the user."""
        parts = [f"{self.made} made" + (f" ({self.megapixels:.2f} MP, {self.rate:.3f} MP/s)" if self.made else "")]
        if self.skipped:
            parts.append(f"{self.skipped} already there")
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        return ", ".join(parts)

    @property
    def rate(self) -> float:
        """Megapixels made per second, including reading and writing."""
        return self.megapixels / self.seconds if self.seconds else 0.0


def run_jobs(
    jobs: Sequence[UpscaleJob],
    root: Place,
    network: OpenNetwork,
    tile: Tile | None = None,
    *,
    show_progress: bool = True,
) -> UpscaleSummary:
    """Enlarge every image whose result does not exist yet.

    A result exists if the journal in `root` lists it with the same source (path, bytes, modification time), network
    (SHA-256), tile and recipe, and the file still has the length it was written with. A result gets its name only
    when it is complete, so a killed run loses at most the image it was working on.

    The progress bar counts the bytes of the sources: no source is opened before its turn.

    Args:
        jobs: the jobs of this process.
        root: folder or bucket of all targets, and of the journal: `.compsrt_made.jsonl`, or objects in `.compsrt_made`.
        network: enlarges the images.
        tile: how large images are cut; None cuts them only where memory requires it.
        show_progress: whether to show a progress bar.

    Raises:
        UnwritableError: nothing can be written to the target folder. Any other error fails one image only.
    """
    journal = journal_of(root)
    tasks, summary = unfinished(jobs, journal, root, network, tile)
    start = time.perf_counter()
    with progress_bar(tasks, shown=show_progress) as bar:
        for task in tasks:
            source, before = task.job.source, bar.n

            def tracked(tiles: list[Any], share: float = task.size) -> Iterator[Any]:
                for tile in tiles:
                    yield tile
                    bar.update(share / len(tiles))

            name_step(bar, source.name)
            try:
                megapixels, notes = make_image(task.job, network, tile, tracked)
                journal.add(task.place, task.made_from)
                summary.megapixels += megapixels
                summary.made += 1
            except Exception as error:
                notes = (failure_of(source, error),)
                summary.failures += notes
            finally:
                summary.seconds = time.perf_counter() - start
            say(bar, notes)
            bar.update(before + task.size - bar.n)
    return summary


def unfinished(
    jobs: Sequence[UpscaleJob], journal: AnyJournal, root: Place, network: OpenNetwork, tile: Tile | None
) -> tuple[list[UpscaleTask], UpscaleSummary]:
    """Return the tasks that are still to do, and a summary of the other jobs.

    Args:
        jobs, root, network, tile: see `run_jobs`.
        journal: of `root`.
    """
    tasks: list[UpscaleTask] = []
    summary = UpscaleSummary()
    for job in jobs:
        try:
            task = task_of(job, root, network, tile)
        except CompSRTError as error:
            summary.failures.append(str(error))
            continue
        if journal.holds(task.place, task.made_from):
            summary.skipped += 1
        else:
            tasks.append(task)
    return tasks, summary


def progress_bar(tasks: Sequence[UpscaleTask], *, shown: bool = True) -> Any:
    """Return a progress bar in megabytes of the sources."""
    return progress(shown=shown, total=sum(task.size for task in tasks), unit="MB", bar_format=BAR, dynamic_ncols=True)


def say(bar: Any, lines: Sequence[str]) -> None:
    """Write lines about single images, above the bar."""
    for line in lines:
        bar.write(f"basicsr upscale: {line}", file=sys.stderr)
