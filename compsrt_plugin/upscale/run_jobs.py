"""Run the jobs one after the other: skip finished images, report failures, show progress."""

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

from compsrt_plugin.data.formats.kinds import FORMATS
from compsrt_plugin.data.journal import Journal
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import UnwritableError, write_whole
from compsrt_plugin.inference import Tile
from compsrt_plugin.inference.memory import GIB, free_memory
from compsrt_plugin.terminal import name_step, progress
from compsrt_plugin.upscale.enlarge import enlarge
from compsrt_plugin.upscale.image import DecodedImage
from compsrt_plugin.upscale.jobs import UpscaleJob
from compsrt_plugin.upscale.open_network import OpenNetwork
from compsrt_plugin.upscale.reading import decode_image
from compsrt_plugin.upscale.writing import check_fits, encode_image, fitted

_RECIPE = 2  # increment when the same source and settings give other pixels; older results are then made again
MB = 1e6
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.2f}/{total:.2f} MB [{elapsed}<{remaining}{postfix}]"

# Errors that concern one result only: its name is too long or has characters that the file system does not allow, a
# file is where a folder should be, or the file is larger than the file system allows.
OF_ONE_RESULT = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EFBIG}
_FLOAT_BYTES = 12  # per enlarged pixel before rounding: three channels of float32


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


@dataclass(frozen=True)
class _Task:
    """A job that is still to do: its target below the root, what the result is made from, the source's size in MB."""

    job: UpscaleJob
    place: str
    made_from: list[Any]
    size: float


def run_jobs(
    jobs: Sequence[UpscaleJob],
    root: Path,
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
        root: folder of all targets. Its file `.compsrt_made.jsonl` is the journal.
        network: enlarges the images.
        tile: how large images are cut; None cuts them only where memory requires it.
        show_progress: whether to show a progress bar.

    Raises:
        UnwritableError: nothing can be written to the target folder. Any other error fails one image only.
    """
    summary, journal = UpscaleSummary(), Journal(root)
    tasks: list[_Task] = []
    for job in jobs:
        try:
            task = _task(job, root, network, tile)
        except OSError as error:
            summary.failures.append(f"cannot read the image {job.source}: {error.strerror or error}")
            continue
        if journal.holds(task.place, task.made_from):
            summary.skipped += 1
        else:
            tasks.append(task)
    start = time.perf_counter()
    total = sum(task.size for task in tasks)
    with progress(shown=show_progress, total=total, unit="MB", bar_format=BAR, dynamic_ncols=True) as bar:
        for task in tasks:
            source, before = task.job.source, bar.n
            name_step(bar, source.name)
            try:
                summary.megapixels += _enlarge_file(task, network, tile, bar)
                journal.add(task.place, task.made_from)
                summary.made += 1
            except Exception as error:
                if isinstance(error, UnwritableError) and not _of_one_result(error):
                    raise
                line = str(error) if isinstance(error, CompSRTError) else _program_error(source, error)
                summary.failures.append(line)
                bar.write(f"basicsr upscale: {line}", file=sys.stderr)
            finally:
                summary.seconds = time.perf_counter() - start
            bar.update(before + task.size - bar.n)
    return summary


def _task(job: UpscaleJob, root: Path, network: OpenNetwork, tile: Tile | None) -> _Task:
    """Return what the journal needs to know about a job. OSError if its source is not there."""
    stat = job.source.stat()
    cut = None if tile is None else list(astuple(tile))
    # The engine's pixels count as those of the simulated network, so which of the two runs is not part of it.
    made_from = [_RECIPE, str(job.source.resolve()), stat.st_size, stat.st_mtime_ns, network.sha256, cut]
    return _Task(job, job.target.relative_to(root).as_posix(), made_from, stat.st_size / MB)


def _enlarge_file(task: _Task, network: OpenNetwork, tile: Tile | None, bar: Any) -> float:
    """Make one result and return its megapixels. The bar advances with the tiles.

    Raises:
        CompSRTError: the image cannot be read, its format cannot hold the result, or there is not enough memory.
    """

    def tracked(tiles: list[Any]) -> Iterator[Any]:
        for tile in tiles:
            yield tile
            bar.update(task.size / len(tiles))

    source, target = task.job.source, task.job.target
    image = decode_image(source)
    kind = FORMATS[target.suffix.lower()]
    height, width = (side * network.scale for side in image.size)
    try:
        _check_result(image, kind, height, width, network.scale)
        made = enlarge(image, network.run, scale=network.scale, window=network.window, tile=tile, progress=tracked)
        made = fitted(made, kind)
        content = encode_image(made, kind)
    except CompSRTError as error:
        raise CompSRTError(f"{source}: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):  # torch reports lack of memory this way
            raise
        raise CompSRTError(
            f"{source}: not enough memory for {width} x {height} pixels", hint="use smaller tiles: --tile 128"
        ) from error
    write_whole(target, content, sync=False)
    for note in made.notes:
        bar.write(f"basicsr upscale: {source}: {note}", file=sys.stderr)
    return height * width / 1e6


def _check_result(image: DecodedImage, kind: str, height: int, width: int, scale: int) -> None:
    """Raise CompSRTError before the work if the format or the memory cannot hold the result.

    The system may end a process that takes more memory than there is, so it is not left to find out.
    """
    sample_bytes = image.samples().nbytes * scale**2
    check_fits(kind, height, width, image.alpha is not None, sample_bytes)
    needed, free = height * width * _FLOAT_BYTES + sample_bytes, free_memory(torch.device("cpu"))
    if needed > free:
        raise CompSRTError(
            f"the result, {width} x {height} pixels, takes {needed / GIB:.1f} GiB of memory",
            allowed=f"the {free / GIB:.1f} GiB that are free",
            hint="cut the image into parts, or use a smaller scale (-s 2)",
        )


def _of_one_result(error: UnwritableError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in OF_ONE_RESULT


def _program_error(source: Path, error: Exception) -> str:
    """Return the line for an unexpected error. It says where the error occurred, for a bug report."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "compsrt_plugin" in Path(frame.filename).parts] or frames
    place = f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}"
    message = " ".join(str(error).split())
    return f"{source}: not made, by a bug of this program: {type(error).__name__}: {message} ({place}); report it"
