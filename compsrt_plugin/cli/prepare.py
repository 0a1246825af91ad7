"""`basicsr prepare`: HR pictures in, benchmark LR pictures (and LMDBs) out."""

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
Make low-resolution pictures as the SR benchmarks do: MATLAB's bicubic imresize with antialiasing, 8-bit rounding
after each of its two passes. Equal to the usual Set5, Set14 and B100 LR pictures, bit for bit.

  OUT/LR_bicubic/X4/NAMEx4.png   of every HR picture, for every scale
  OUT/HR/NAME.png                the HR picture cropped to match (--hr-copy)
  OUT/HR.lmdb, OUT/LR_bicubic_X4.lmdb   the same as LMDBs (--lmdb)

A run that was interrupted goes on where it stopped; pictures whose HR file has not changed are not made again.
"""

EXAMPLES = """\
examples:
  basicsr prepare --hr datasets/Set5/HR --scales 2 3 4 --out datasets/Set5
      a benchmark: its LR pictures beside its HR pictures, where COMPSRT_DATA=datasets finds them
  basicsr prepare --hr DF2K_HR --scales 4 --out datasets/DF2K --hr-copy
      for training, where every HR side must be exactly 4 times the LR side. In the option file:
        dataroot_gt: datasets/DF2K/HR
        dataroot_lq: datasets/DF2K/LR_bicubic/X4
        filename_tmpl: '{}x4'
  basicsr prepare --hr DF2K_HR --scales 4 --out datasets/DF2K --lmdb
      the same for slow disks. In the option file:
        dataroot_gt: datasets/DF2K/HR.lmdb
        dataroot_lq: datasets/DF2K/LR_bicubic_X4.lmdb
        io_backend: {type: lmdb}

exit code: 0; 2 if a picture could not be used (each is named; the others are made)
"""

SMALLEST_SCALE, LARGEST_SCALE = 2, 8
MOST_WORKERS = 4  # the default; more rarely helps, the disk being the limit
PICTURES_PER_WORKER = 16  # fewer do not repay the start of a process
POOL_THREADS = 2  # that a pool of processes has beside them, to hand out work and to take results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `basicsr prepare`."""
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--hr", required=True, metavar="DIR", help="folder of HR pictures (not its subfolders)")
    parser.add_argument(
        "--scales", required=True, nargs="+", type=int, metavar="N", help="one or more scales, as in 2 3 4"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where the pictures go; made if need be")
    parser.add_argument(
        "--hr-copy",
        action="store_true",
        help="also write the HR pictures, as PNG, cropped to multiples of all scales together (12 for 2 3 4); "
        "the LR pictures are then made from these",
    )
    parser.add_argument("--lmdb", action="store_true", help="also write BasicSR LMDBs; includes --hr-copy")
    parser.add_argument(
        "--workers", type=int, metavar="N", help=f"processes (default: one per core, at most {MOST_WORKERS})"
    )


def run(args: argparse.Namespace) -> int:
    """Make the pictures; print a summary, and one line per picture that could not be used.

    Returns:
        0, or 2 if a picture could not be used; no LMDB is made then.

    Raises:
        CompSRTError: a wrong argument, no pictures, an output folder that cannot be written.
    """
    from compsrt_plugin.data.images import pictures_in
    from compsrt_plugin.data.lmdb_pairs import check_keys, make_lmdbs
    from compsrt_plugin.data.prepare import Layout, make_pictures

    hr, out = Path(args.hr).expanduser(), Path(args.out).expanduser()
    layout = Layout(out, _scales(args.scales), hr_copy=args.hr_copy or args.lmdb)
    sources = pictures_in(hr)
    if layout.hr_copy and hr.resolve() == layout.hr_dir.resolve():
        raise CompSRTError(
            f"--out {out} would overwrite the pictures in --hr {hr} by cropped ones",
            hint="give another --out, or leave --hr-copy and --lmdb out",
        )
    names = [source.stem for source in sources]
    if args.lmdb:
        check_keys(names)
    executor = _executor(args.workers, len(sources))
    summary = make_pictures(sources, layout, executor=executor, title=f"pictures of {hr.name}")
    print(f"{len(sources)} HR pictures: {summary.made} pictures made, {summary.skipped} already there, in {out}")
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


def _executor(workers: int | None, pictures: int) -> Executor | None:
    """Return a pool of processes, or None where this process alone is as fast."""
    if workers is None:
        workers = min(threads.cores(), MOST_WORKERS, math.ceil(pictures / PICTURES_PER_WORKER))
    asked = threads.checked("--workers", workers)
    workers = threads.startable(asked + POOL_THREADS) - POOL_THREADS  # a limit on threads is one on processes
    if workers < asked:
        threads.warn(asked, max(1, workers))
    if workers <= 1:
        return None
    # spawn: the one way that works on every system, and with threads that were started before
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,  # on Ctrl-C this process alone answers
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
