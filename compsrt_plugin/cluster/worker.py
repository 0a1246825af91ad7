"""Define `UpscaleFiles`, which enlarges the image files that a batch names, and `pending`, which lists what to do."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from compsrt_plugin.buckets import Place, address_of, place_of
from compsrt_plugin.data.bucket_journal import AnyJournal, journal_of
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import Tile, tile_of_size
from compsrt_plugin.upscale.jobs import UpscaleJob, list_jobs
from compsrt_plugin.upscale.one_image import failure_of, make_image, task_of
from compsrt_plugin.upscale.open_network import OpenNetwork, find_network
from compsrt_plugin.upscale.run_jobs import unfinished
from compsrt_plugin.upscale.weight_files import open_file

MADE, FAILED = "made", "failed"  # the status of an image
SOURCE, TARGET = "source", "target"  # the columns of a batch

_one_at_a_time = threading.Lock()  # workers of Dask are threads by default, and a network runs one image at a time


class UpscaleFiles:
    """Enlarge the image files that a batch names. Each process opens the network once, at its first batch.

    It is called with batches and holds plain values only, so that it can be sent to other processes: pass the class to
    `map_batches` of Ray, or an object of it to `map_partitions` of Dask and, inside `map`, to `mapInPandas` of Spark.
    All machines must see the sources and `out` at the same paths, or reach their buckets.

    A result gets its name only when it is complete, and is then listed in the journal of `out`. An image that cannot be
    used is a row with the status `failed`.

    Args:
        out: folder of all targets, and of the journal of what is made. An absolute path, or the address of a bucket.
        network: name of a bundled network.
        model: packed file or option file, in the place of a bundled network.
        scale, bits: of a bundled network without a name; None stands for the defaults of `basicsr upscale`.
        tile: side of the tiles of large images, in low-resolution pixels. None chooses it by memory.
        threads: threads of one forward pass.

    Raises:
        CompSRTError: `out` is a relative path, or an address of no bucket.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        network: str | None = None,
        model: str | None = None,
        scale: int | None = None,
        bits: int | None = None,
        tile: int | None = None,
        threads: int = 1,
    ) -> None:
        if place_of(out) != place_of(out).absolute():
            raise CompSRTError(f"out is {out}", allowed="an absolute path: processes have other current folders")
        self.out = str(out)
        self.network, self.model, self.scale, self.bits = network, model, scale, bits
        self.tile, self.threads = tile, threads

    def __call__(self, batch: Any) -> Any:
        """Make the results of a batch.

        Args:
            batch: a dict of columns or a pandas DataFrame, with `source` and `target` of each image: paths, or
                addresses of objects.

        Returns:
            The same type with the columns `source`, `target`, `status` (`made` or `failed`), `message` (why it failed,
            or what was dropped; one line each), and `megapixels`.

        Raises:
            CompSRTError: the network cannot be opened, or nothing can be written where the results go.
        """
        sources, targets = ([str(path) for path in batch[name]] for name in (SOURCE, TARGET))
        with _one_at_a_time:
            rows = [self._make(UpscaleJob(place_of(s), place_of(t))) for s, t in zip(sources, targets)]
        columns = {
            "status": [status for status, _, _ in rows],
            "message": [message for _, message, _ in rows],
            "megapixels": [megapixels for _, _, megapixels in rows],
        }
        return type(batch)({SOURCE: sources, TARGET: targets, **columns})

    def _make(self, job: UpscaleJob) -> tuple[str, str, float]:
        network, tile = self.open(), self.cut()
        try:
            # first: a source that changes meanwhile is made again
            task = task_of(job, place_of(self.out), network, tile)
            megapixels, notes = make_image(job, network, tile)
            _journal(self.out).add(task.place, task.made_from)
        except Exception as error:
            return FAILED, failure_of(job.source, error), 0.0
        return MADE, "\n".join(notes), megapixels

    def open(self) -> OpenNetwork:
        """Return the network of this process. Raises CompSRTError if it cannot be opened."""
        return _network(self.scale, self.bits, self.network, self.model, self.threads)

    def cut(self) -> Tile | None:
        """Return the tile that `tile` means. Raises CompSRTError if it is too small."""
        return None if self.tile is None else tile_of_size(self.tile, self.open().window)


@lru_cache(maxsize=1)
def _network(scale: int | None, bits: int | None, name: str | None, model: str | None, threads: int) -> OpenNetwork:
    return open_file(find_network(scale, bits, name, model), threads)


@lru_cache(maxsize=1)
def _journal(out: str) -> AnyJournal:
    return journal_of(place_of(out))


def pending(
    inputs: Sequence[str], worker: UpscaleFiles, *, image_format: str | None = None
) -> tuple[list[dict[str, str]], int]:
    """List the images that are still to be made, as rows for `UpscaleFiles`.

    Args:
        inputs: files, folders, shell patterns and addresses of buckets, as for `basicsr upscale`.
        worker: what will make them.
        image_format: `png`, `jpg`, `webp` or `tif`; None keeps the format of each source.

    Returns:
        The rows, each with `source` and `target`, absolute paths or addresses of objects, and the number of images that
        are there already.

    Raises:
        CompSRTError: an input is not there, or a result would replace a source.
    """
    jobs = list_jobs(inputs, worker.out, f".{image_format}" if image_format else None)
    root = place_of(worker.out)
    tasks, summary = unfinished(jobs.jobs, journal_of(root), root, worker.open(), worker.cut())
    return [row_of(task.job.source.absolute(), task.job.target) for task in tasks], summary.skipped


def row_of(source: Place, target: Place) -> dict[str, str]:
    """Return the row of one image, for `UpscaleFiles`."""
    return {SOURCE: address_of(source), TARGET: address_of(target)}
