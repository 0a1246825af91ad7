"""`basicsr prepare`: make the low-resolution images of a data set (and LMDBs) from its HR images."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import signal
import sys
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

from compsrt_plugin import threads
from compsrt_plugin.errors import CompSRTError

DESCRIPTION = """\
Make low-resolution images as the SR benchmarks do: MATLAB's bicubic imresize with antialiasing, with rounding to 8 bits
after each of its two passes. The results equal the usual LR images of Set5, Set14 and B100 bit for bit.

  OUT/LR_bicubic/X4/NAMEx4.png   for every HR image and every scale
  OUT/HR/NAME.png                the HR image, cropped to match (--hr-copy)
  OUT/HR.lmdb, OUT/LR_bicubic_X4.lmdb   the same as LMDBs (--lmdb)

An interrupted run resumes where it stopped. Images whose HR file has not changed are not made again.
"""

EXAMPLES = """\
examples:
  basicsr prepare --hr datasets/Set5/HR --scales 2 3 4 --out datasets/Set5
      a benchmark: LR images next to the HR images, where COMPSRT_DATA=datasets finds them
  basicsr prepare --hr DF2K_HR --scales 4 --out datasets/DF2K --hr-copy
      for training, where each HR side must be exactly 4 times the LR side. In the option file:
        dataroot_gt: datasets/DF2K/HR
        dataroot_lq: datasets/DF2K/LR_bicubic/X4
        filename_tmpl: '{}x4'
  basicsr prepare --hr DF2K_HR --scales 4 --out datasets/DF2K --lmdb
      the same for slow disks. In the option file:
        dataroot_gt: datasets/DF2K/HR.lmdb
        dataroot_lq: datasets/DF2K/LR_bicubic_X4.lmdb
        io_backend: {type: lmdb}

exit code: 0; 2 if an image could not be used (it is named, and the others are made)
"""

SMALLEST_SCALE, LARGEST_SCALE = 2, 8
MOST_WORKERS = 4  # the default; more rarely helps, because the disk is the limit
IMAGES_PER_WORKER = 16  # with fewer, starting a process costs more than it saves
POOL_THREADS = 2  # extra threads of a process pool, which hand out work and take results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--hr", required=True, metavar="DIR", help="folder of HR images (without its subfolders)")
    parser.add_argument(
        "--scales", required=True, nargs="+", type=int, metavar="N", help="one or more scales, for example 2 3 4"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="output folder; created if missing")
    parser.add_argument(
        "--hr-copy",
        action="store_true",
        help="also write the HR images as PNG, cropped to multiples of all scales (12 for 2 3 4); "
        "the LR images are then made from these",
    )
    parser.add_argument("--lmdb", action="store_true", help="also write BasicSR LMDBs; implies --hr-copy")
    parser.add_argument(
        "--workers", type=int, metavar="N", help=f"number of processes (one per core, at most {MOST_WORKERS})"
    )


def run(args: argparse.Namespace) -> int:
    """Make the images. Print a summary, and one line per image that could not be used.

    Returns:
        0, or 2 if an image could not be used. No LMDB is made in that case.

    Raises:
        CompSRTError: an argument is wrong, there are no images, or the output folder cannot be written.
    """
    from compsrt_plugin.data.images import images_in
    from compsrt_plugin.data.lmdb_pairs import check_keys, make_lmdbs
    from compsrt_plugin.data.low_resolution import OutputLayout, make_low_resolution

    hr, out = Path(args.hr).expanduser(), Path(args.out).expanduser()
    layout = OutputLayout(out, _scales(args.scales), hr_copy=args.hr_copy or args.lmdb)
    sources = images_in(hr)
    if layout.hr_copy and hr.resolve() == layout.hr_dir.resolve():
        raise CompSRTError(
            f"--out {out} would overwrite the images in --hr {hr} with cropped ones",
            hint="give another --out, or leave --hr-copy and --lmdb out",
        )
    names = [source.stem for source in sources]
    if args.lmdb:
        check_keys(names)
    executor = _executor(args.workers, len(sources))
    summary = make_low_resolution(sources, layout, executor=executor, title=f"images of {hr.name}")
    print(f"{len(sources)} HR images: {summary.made} images made, {summary.skipped} already there, in {out}")
    if summary.errors:
        for error in summary.errors:
            print(f"basicsr prepare: {error}", file=sys.stderr)
        consequence = "; no LMDB made" if args.lmdb else ""
        print(f"basicsr prepare: {len(summary.errors)} of {len(sources)} failed{consequence}", file=sys.stderr)
        return 2
    if args.lmdb:
        databases = make_lmdbs(names, layout)
        print(f"LMDBs: {', '.join(str(database) for database in databases)}")
    return 0


def _scales(given: list[int]) -> tuple[int, ...]:
    for scale in given:
        if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
            raise CompSRTError(f"--scales has {scale}", allowed=f"{SMALLEST_SCALE} to {LARGEST_SCALE}")
    return tuple(sorted(set(given)))


def _executor(workers: int | None, images: int) -> Executor | None:
    """Return a process pool, or None if this process alone is as fast."""
    if workers is None:
        workers = min(threads.cores(), MOST_WORKERS, math.ceil(images / IMAGES_PER_WORKER))
    asked = threads.checked("--workers", workers)
    workers = threads.startable(asked + POOL_THREADS) - POOL_THREADS  # a limit on threads limits processes too
    if workers < asked:
        threads.warn(asked, max(1, workers))
    if workers <= 1:
        return None
    # spawn: the only start method that works on every system and with threads already running
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,  # only this process handles Ctrl-C
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
