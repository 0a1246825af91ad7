"""Doing the jobs: one picture after the other, what is done left out, what fails noted, with a progress bar."""

from __future__ import annotations

import errno
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch

from compsrt_plugin.data.formats.kinds import KINDS
from compsrt_plugin.data.images import image_size
from compsrt_plugin.data.journal import Journal
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import UnwritableError, write_whole
from compsrt_plugin.inference import Tile
from compsrt_plugin.inference.memory import GIB, free_memory
from compsrt_plugin.terminal import name_step, progress
from compsrt_plugin.upscale.enlarge import enlarge
from compsrt_plugin.upscale.jobs import Job
from compsrt_plugin.upscale.network import OpenNetwork
from compsrt_plugin.upscale.reading import read_picture
from compsrt_plugin.upscale.writing import check_fits, encode, fitted

RECIPE = 2  # counts up when the same source and settings give other pixels: results made before are then made again
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.2f}/{total:.2f} MP [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"

# what ails the name or size of one result alone: a name too long or of characters that the file system does not
# have, a file where a folder should be, a file larger than the file system holds
OF_ONE_RESULT = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EFBIG}
FLOAT_BYTES = 12  # of an enlarged pixel, before it is rounded


@dataclass
class Summary:
    """What became of the jobs.

    Attributes:
        made, skipped: how many pictures.
        failures: one line each.
        megapixels: of the pictures made.
        seconds: that it took.
    """

    made: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    megapixels: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Summary) -> Summary:
        """Both, done at the same time."""
        return Summary(
            self.made + other.made,
            self.skipped + other.skipped,
            self.failures + other.failures,
            self.megapixels + other.megapixels,
            max(self.seconds, other.seconds),
        )

    def text(self) -> str:
        """One line for the user."""
        parts = [f"{self.made} made" + (f" ({self.megapixels:.2f} MP, {self.rate:.3f} MP/s)" if self.made else "")]
        if self.skipped:
            parts.append(f"{self.skipped} already there")
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        return ", ".join(parts)

    @property
    def rate(self) -> float:
        """Megapixels made in a second, reading and writing included."""
        return self.megapixels / self.seconds if self.seconds else 0.0


def run_jobs(
    jobs: Sequence[Job], root: Path, network: OpenNetwork, tile: Tile | None = None, *, show_progress: bool = True
) -> Summary:
    """Enlarge every picture that is not there yet.

    A result counts as there if the journal in `root` has it with the same source (path, bytes, time of change),
    network (sha256), tile and recipe, and the file still has the length it was written with. It appears under its name
    only once it is whole, so a run that was killed loses at most the picture it was at.

    Args:
        jobs: of this process.
        root: folder of all targets; `.compsrt_made.jsonl` in it says what is done.
        network: what enlarges.
        tile: how large pictures are cut; None: where the memory asks for it.
        show_progress: on a terminal.

    Raises:
        UnwritableError: nothing can be written there; the next picture would fail as well. Nothing else that one
            picture does ends the run.
    """
    summary, journal = Summary(), Journal(root)
    todo: list[tuple[Job, list[Any], float]] = []
    for job in jobs:
        try:
            made_from = _made_from(job.source, network, tile)
        except OSError as error:
            summary.failures.append(f"cannot read the picture {job.source}: {error.strerror or error}")
            continue
        if journal.holds(_place(job, root), made_from):
            summary.skipped += 1
        else:
            todo.append((job, made_from, _megapixels(job.source, network.scale)))
    start = time.perf_counter()
    total = sum(megapixels for _, _, megapixels in todo)
    with progress(shown=show_progress, total=total, unit="MP", bar_format=BAR, dynamic_ncols=True) as bar:
        for job, made_from, megapixels in todo:
            name_step(bar, job.source.name)
            before = bar.n
            try:
                summary.megapixels += _do(job, network, tile, bar, megapixels)
                journal.add(_place(job, root), made_from)
                summary.made += 1
            except Exception as error:
                if isinstance(error, UnwritableError) and not _of_one_result(error):
                    raise
                line = str(error) if isinstance(error, CompSRTError) else _fault_of_ours(job.source, error)
                summary.failures.append(line)
                bar.write(f"basicsr upscale: {line}", file=sys.stderr)
            finally:
                summary.seconds = time.perf_counter() - start
            bar.update(before + megapixels - bar.n)
    return summary


def _do(job: Job, network: OpenNetwork, tile: Tile | None, bar: Any, megapixels: float) -> float:
    """Make one picture and return its megapixels; `megapixels` of the bar are shared out over its tiles.

    Raises:
        CompSRTError: the picture cannot be read, its format cannot hold the result, or the memory does not suffice.
    """

    def counted(tiles: list[Any]) -> Iterator[Any]:
        for tile in tiles:
            yield tile
            bar.update(megapixels / len(tiles))

    picture = read_picture(job.source)
    kind = KINDS[job.target.suffix.lower()]
    height, width = (side * network.scale for side in picture.size)
    sample_bytes = picture.samples().nbytes * network.scale**2
    try:
        check_fits(kind, height, width, picture.alpha is not None, sample_bytes)
        _check_memory(height, width, sample_bytes)
        made = enlarge(picture, network.run, scale=network.scale, window=network.window, tile=tile, progress=counted)
        made = fitted(made, kind)
        content = encode(made, kind)
    except CompSRTError as error:
        raise CompSRTError(f"{job.source}: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):  # as torch says it
            raise
        raise CompSRTError(
            f"{job.source}: the memory does not suffice for {width} x {height} pixels",
            hint="give smaller tiles: --tile 128",
        ) from error
    write_whole(job.target, content, sync=False)
    for note in made.notes:
        bar.write(f"basicsr upscale: {job.source}: {note}", file=sys.stderr)
    return height * width / 1e6


def _check_memory(height: int, width: int, sample_bytes: int) -> None:
    """Refuse what cannot fit, since the system may end a process that takes more memory than there is."""
    needed, free = height * width * FLOAT_BYTES + sample_bytes, free_memory(torch.device("cpu"))
    if needed > free:
        raise CompSRTError(
            f"the result, {width} x {height} pixels, takes {needed / GIB:.1f} GiB of memory",
            allowed=f"the {free / GIB:.1f} GiB that are free",
            hint="cut the picture into parts, or take a smaller scale (-s 2)",
        )


def _of_one_result(error: UnwritableError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in OF_ONE_RESULT


def _fault_of_ours(source: Path, error: Exception) -> str:
    """Return the line for an error that no one foresaw; it says where it happened, for whoever reports it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "compsrt_plugin" in Path(frame.filename).parts] or frames
    place = f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}"
    said = " ".join(str(error).split())
    return f"{source}: not made, by a fault of this program: {type(error).__name__}: {said} ({place}); please report it"


def _made_from(source: Path, network: OpenNetwork, tile: Tile | None) -> list[Any]:
    """Return what a result depends on, as JSON values. The engine's pixels count as the simulated network's."""
    stat = source.stat()
    cut = None if tile is None else list(astuple(tile))
    return [RECIPE, str(source.resolve()), stat.st_size, stat.st_mtime_ns, network.sha256, cut]


def _megapixels(source: Path, scale: int) -> float:
    """Return the megapixels of a result by its source's header; 0 if that cannot be read, which is said later."""
    try:
        height, width = image_size(source)
    except CompSRTError:
        return 0.0
    return height * width * scale**2 / 1e6


def _place(job: Job, root: Path) -> str:
    return job.target.relative_to(root).as_posix()
