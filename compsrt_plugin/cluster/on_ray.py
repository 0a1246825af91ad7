"""Share the images of one call among the machines of a Ray cluster, by Ray Data."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from compsrt_plugin.buckets import place_of
from compsrt_plugin.cluster.worker import FAILED, SOURCE, UpscaleFiles, row_of
from compsrt_plugin.data.bucket_journal import journal_of
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.jobs import UpscaleJob
from compsrt_plugin.upscale.run_jobs import UpscaleSummary, progress_bar, say, unfinished

LOCAL = "local"  # Ray's own word for a cluster that begins and ends with this process
LARGEST_BATCH = 16  # images; a batch of a worker that dies is made again
REACHED_WITHIN = 20.0  # seconds
BATCHES_PER_WORKER = 4  # at least, where there are enough images: workers end at about the same time


def run_on_ray(address: str, jobs: Sequence[UpscaleJob], worker: UpscaleFiles) -> UpscaleSummary:
    """Enlarge every image whose result does not exist yet, on all machines of a cluster.

    One process for each `worker.threads` cores of the cluster opens the network and takes batches. Ray starts a process
    that died again, and gives its batch to another one meanwhile.

    Args:
        address: of the cluster; `auto` for the one that this machine belongs to, `local` for a new one on this machine.
        jobs: all jobs.
        worker: makes the images.

    Raises:
        CompSRTError: Ray is not installed, there is no cluster at `address`, or its machines cannot do the work.
    """
    root = place_of(worker.out)
    jobs = [UpscaleJob(job.source.absolute(), job.target.absolute()) for job in jobs]
    tasks, summary = unfinished(jobs, journal_of(root), root, worker.open(), worker.cut())
    if not tasks:
        return summary
    rows = [row_of(task.job.source, task.job.target) for task in tasks]
    start, sizes = time.perf_counter(), {row[SOURCE]: task.size for row, task in zip(rows, tasks)}
    with _cluster(address) as ray, progress_bar(tasks) as bar:
        try:
            for row in _results(ray, rows, worker):
                if row["status"] == FAILED:
                    summary.failures.append(row["message"])
                else:
                    summary.made += 1
                    summary.megapixels += row["megapixels"]
                say(bar, row["message"].splitlines())
                bar.update(sizes[row[SOURCE]])
        except ray.exceptions.RayError as error:
            raise _in_one_line(error) from error
    summary.seconds = time.perf_counter() - start
    return summary


def _results(ray: Any, rows: list[dict[str, str]], worker: UpscaleFiles) -> Iterator[dict[str, Any]]:
    """Yield the row of each image as soon as its batch is done."""
    workers = max(1, int(ray.cluster_resources().get("CPU", 1)) // worker.threads)
    size = max(1, min(LARGEST_BATCH, len(rows) // (BATCHES_PER_WORKER * workers)))
    batches = ray.data.from_items(rows, override_num_blocks=math.ceil(len(rows) / size))
    settings = {key: value for key, value in vars(worker).items() if key != "out"}
    yield from batches.map_batches(
        UpscaleFiles,
        fn_constructor_args=(worker.out,),
        fn_constructor_kwargs=settings,
        batch_size=None,
        num_cpus=worker.threads,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
    ).iter_rows()


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Connect to a cluster, and leave it at the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a local cluster would report its use to Ray's makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters arrives as an exception
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise CompSRTError("--ray needs Ray", hint="install it: pip install 'compsrt_plugin[cluster]'") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        _check_reachable(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise CompSRTError(
            f"--ray {address}: there is no cluster ({str(error).splitlines()[0]})",
            hint=f"start one with: ray start --head; --ray {LOCAL} needs none",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT, for which Ray would look for many minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), REACHED_WITHIN).close()


def _in_one_line(error: Exception) -> CompSRTError:
    """Return our own error that a worker raised, or else one with Ray's last line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, CompSRTError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return CompSRTError(
        f"the machines of the cluster cannot do it: {str(error).strip().splitlines()[-1]}",
        hint="compsrt_plugin of the same version must be installed on each, and see the same folders or buckets",
    )
