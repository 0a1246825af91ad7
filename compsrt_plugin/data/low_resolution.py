"""Make benchmark LR images of HR images: `LR_bicubic/X4/NAMEx4.png`, and `HR/NAME.png` if asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compsrt_plugin.data.images import read_image, write_image
from compsrt_plugin.data.journal import Journal
from compsrt_plugin.data.resize import imresize, mod_crop
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import UnwritableError, link_to
from compsrt_plugin.terminal import progress

_RECIPE = 1  # increment when the same source no longer gives the same images


@dataclass(frozen=True)
class OutputLayout:
    """The images to make from each HR image, and their places.

    Attributes:
        out: root folder.
        scales: shrinking factors.
        hr_copy: whether to write the HR image too. All LR images are then made from this copy, which is cropped to
            multiples of all scales, so that it is exactly `scale` times each of them, as training needs. Otherwise each
            scale crops separately, as the benchmarks do.
        max_side: cut the centre of at most this height and width in pixels first; None keeps the whole image.
        link: make the HR copy a link to its source if nothing is cropped. Its name ends in `.png` in any case, because
            readers go by content.
    """

    out: Path
    scales: tuple[int, ...]
    hr_copy: bool = False
    max_side: int | None = None
    link: bool = False

    @property
    def hr_dir(self) -> Path:
        """Folder of the HR copies."""
        return self.out / "HR"

    def lr_dir(self, scale: int) -> Path:
        """Return the folder of the LR images of one scale."""
        return self.out / "LR_bicubic" / f"X{scale}"

    def crop(self, scale: int) -> int:
        """Return the number of which both sides of the source of an LR image are multiples."""
        return math.lcm(*self.scales) if self.hr_copy else scale


@dataclass(frozen=True)
class Output:
    """An image to write: its place below the root, and how it is made."""

    place: str
    scale: int  # 1: the HR copy
    crop: int
    made_from: list[Any]  # for the journal


@dataclass(frozen=True)
class _Job:
    """An HR image and the images that are still to be made from it."""

    source: Path
    out: Path
    outputs: list[Output]
    max_side: int | None
    link: bool


@dataclass
class PrepareSummary:
    """The outcome of a run: numbers of written and skipped images, and one line per failed source."""

    made: int = 0
    skipped: int = 0
    errors: list[str] = field(default_factory=list)


def make_low_resolution(
    sources: Sequence[Path], layout: OutputLayout, *, executor: Executor | None = None, title: str = "LR images"
) -> PrepareSummary:
    """Make all images of a layout and return a summary. Images of unchanged sources are skipped.

    A source that cannot be used does not end the run. It becomes one line of the summary's errors.

    Args:
        sources: HR images, whose names without extension must differ.
        layout: the images to make.
        executor: runs the jobs (processes or threads); None runs them in this thread. It is shut down on a failure that
            would repeat.
        title: label of the progress bar.

    Raises:
        CompSRTError: two sources have the same name, or a process died.
        UnwritableError: the output folder cannot be written.
    """
    refuse_same_names(sources)
    journal = Journal(layout.out)
    summary = PrepareSummary()
    jobs = []
    for source in sources:
        try:
            outputs = _outputs(source, layout)
        except OSError as error:
            summary.errors.append(f"cannot read the image {source}: {error.strerror or error}")
            continue
        missing = [o for o in outputs if not journal.holds(o.place, o.made_from)]
        summary.skipped += len(outputs) - len(missing)
        if missing:
            jobs.append(_Job(source, layout.out, missing, layout.max_side, layout.link))
    if not jobs:
        return summary
    with progress(total=len(jobs), desc=title, unit="images") as bar:
        for job, error in _run(jobs, executor):
            bar.update()
            if error is not None:
                summary.errors.append(error)
                continue
            for output in job.outputs:
                journal.add(output.place, output.made_from)
            summary.made += len(job.outputs)
    return summary


def refuse_same_names(sources: Sequence[Path]) -> None:
    """Raise CompSRTError if two images (a.jpg and a.png, say) would both be written as a.png."""
    seen: dict[str, Path] = {}
    for source in sources:
        other = seen.setdefault(source.stem, source)
        if other is not source:
            raise CompSRTError(
                f"{other} and {source.name} would both be written as {source.stem}.png",
                hint="rename or remove one of the two",
            )


def _outputs(source: Path, layout: OutputLayout) -> list[Output]:
    """Return all images to make from one source. OSError if the source is missing."""
    stat = source.stat()

    def output(place: Path, scale: int, crop: int) -> Output:
        made_from = [_RECIPE, source.name, stat.st_size, stat.st_mtime_ns, crop, layout.max_side]
        return Output(place.relative_to(layout.out).as_posix(), scale, crop, made_from)

    name = source.stem
    outputs = [output(layout.lr_dir(s) / f"{name}x{s}.png", s, layout.crop(s)) for s in layout.scales]
    if layout.hr_copy:
        outputs.append(output(layout.hr_dir / f"{name}.png", 1, layout.crop(1)))
    return outputs


def _run(jobs: list[_Job], executor: Executor | None) -> Iterator[tuple[_Job, str | None]]:
    """Yield each job as it ends, with an error line about its source, or None."""
    if executor is None:
        for job in jobs:
            yield job, _do(job)
        return
    futures = {executor.submit(_do, job): job for job in jobs}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise CompSRTError(
            "a worker process died (out of memory?); finished images are kept",
            hint="run again with --workers 1",
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _do(job: _Job) -> str | None:
    """Make the images of one job. Return an error line or None. Raise UnwritableError."""
    try:
        image = read_image(job.source)
        whole = image.shape
        if job.max_side is not None:
            image = centre_piece(image, job.max_side)
        for output in job.outputs:
            cropped = mod_crop(image, output.crop)
            if cropped.size == 0:
                height, width = image.shape[:2]
                raise CompSRTError(
                    f"the image {job.source} is too small ({width}×{height} pixels)",
                    allowed=f"at least {output.crop}×{output.crop}",
                )
            target = job.out / output.place
            if job.link and output.scale == 1 and cropped.shape == whole and link_to(job.source, target):
                continue
            write_image(target, cropped if output.scale == 1 else imresize(cropped, 1 / output.scale))
    except UnwritableError:
        raise
    except CompSRTError as error:
        return str(error)
    return None


def centre_piece(image: np.ndarray, max_side: int) -> np.ndarray:
    """Return the centre of an image (height, width, channels), at most `max_side` high and wide."""
    height, width = image.shape[:2]
    top, left = max(0, height - max_side) // 2, max(0, width - max_side) // 2
    return image[top : top + max_side, left : left + max_side]
