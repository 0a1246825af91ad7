"""Make one result: decode the source, enlarge it, encode and write it; or say in one line why not."""

from __future__ import annotations

import errno
import traceback
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch

from compsrt_plugin.buckets import Place, name_below, write_place
from compsrt_plugin.data.formats.kinds import FORMATS
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import UnwritableError
from compsrt_plugin.inference import Tile
from compsrt_plugin.inference.memory import GIB, free_memory
from compsrt_plugin.terminal import TrackProgress
from compsrt_plugin.upscale.enlarge import enlarge
from compsrt_plugin.upscale.image import DecodedImage
from compsrt_plugin.upscale.jobs import UpscaleJob
from compsrt_plugin.upscale.open_network import OpenNetwork
from compsrt_plugin.upscale.reading import decode_image
from compsrt_plugin.upscale.writing import check_fits, encode_image, fitted

_RECIPE = 2  # increment when the same source and settings give other pixels; older results are then made again
MB = 1e6

# Errors that concern one result only: its name is too long or has characters that the file system does not allow, a
# file is where a folder should be, or the file is larger than the file system allows.
OF_ONE_RESULT = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EFBIG}
_FLOAT_BYTES = 12  # per enlarged pixel before rounding: three channels of float32


@dataclass(frozen=True)
class UpscaleTask:
    """A job with what the journal needs to know about it.

    Attributes:
        job: the source and the target.
        place: the target, relative to the root of all targets.
        made_from: what the result is made from.
        size: of the source, in MB.
    """

    job: UpscaleJob
    place: str
    made_from: list[Any]
    size: float


def task_of(job: UpscaleJob, root: Place, network: OpenNetwork, tile: Tile | None) -> UpscaleTask:
    """Return what the journal needs to know about a job. CompSRTError if its source is not there."""
    try:
        stat = job.source.stat()
    except OSError as error:
        raise CompSRTError(f"cannot read the image {job.source}: {error.strerror or error}") from error
    cut = None if tile is None else list(astuple(tile))
    # The engine's pixels count as those of the simulated network, so which of the two runs is not part of it.
    made_from = [_RECIPE, str(job.source.resolve()), stat.st_size, stat.st_mtime_ns, network.sha256, cut]
    return UpscaleTask(job, name_below(job.target, root).as_posix(), made_from, stat.st_size / MB)


def make_image(
    job: UpscaleJob, network: OpenNetwork, tile: Tile | None, progress: TrackProgress | None = None
) -> tuple[float, tuple[str, ...]]:
    """Make one result.

    Returns:
        Its megapixels, and one line for each thing that was dropped.

    Raises:
        CompSRTError: the image cannot be read, its format cannot hold the result, or there is not enough memory.
    """
    source, target = job.source, job.target
    image = decode_image(source)
    kind = FORMATS[target.suffix.lower()]
    height, width = (side * network.scale for side in image.size)
    try:
        _check_result(image, kind, height, width, network.scale)
        made = enlarge(image, network.run, scale=network.scale, window=network.window, tile=tile, progress=progress)
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
    write_place(target, content)
    return height * width / 1e6, tuple(f"{source}: {note}" for note in made.notes)


def failure_of(source: Place, error: Exception) -> str:
    """Return the line that says why an image was not made. An error that the next image would meet too is raised.

    Raises:
        UnwritableError: nothing can be written where the results go.
    """
    if isinstance(error, UnwritableError) and not _of_one_result(error):
        raise error
    return str(error) if isinstance(error, CompSRTError) else _program_error(source, error)


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


def _program_error(source: Place, error: Exception) -> str:
    """Return the line for an unexpected error. It says where the error occurred, for a bug report."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "compsrt_plugin" in Path(frame.filename).parts] or frames
    place = f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}"
    message = " ".join(str(error).split())
    return f"{source}: not made, by a bug of this program: {type(error).__name__}: {message} ({place}); report it"
