"""`basicsr upscale`: pictures in, larger pictures out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.threads import checked, cores

DESCRIPTION = """\
Enlarge pictures with a quantized network: the one that comes with the package, or your own (--model).

PNG, JPEG, WebP and TIFF; grey, palette, RGB, with or without alpha, 8 or 16 bits. Depth, colour profile and EXIF data
stay (pixels are not turned, the orientation tag says how to show them). Alpha is enlarged by bicubic interpolation.
"""

EXAMPLES = """\
examples:
  basicsr upscale cat.jpg -o cat_large.png
      one picture, 4 times as wide and high, by the bundled 3-bit network
  basicsr upscale photos -o large
      all pictures in a folder; each keeps its name and its format
  basicsr upscale 'scans/**/*.tif' -o large --format png
      all that match, subfolders included (quoted, so that it is not your shell that looks)
  basicsr upscale photos -o large --model experiments/mine/models/mine.safetensors
      by a network of your own, which decides the scale
  torchrun --nproc_per_node=2 -m compsrt_plugin upscale photos -o large
      two processes, each with its own share of the pictures; several machines work the same way

The same command again goes on where it stopped: what is there already, from the same source and network, is left
as it is. A picture that cannot be used is named, and the others are made.

exit code: 0 all done; 1 some pictures failed; 2 a mistake in what was given, nothing was made
"""

FORMATS = ("png", "jpg", "webp", "tif")
SCALES = (2, 3, 4)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is enlarged, how, and where it goes."""
    parser.description = DESCRIPTION
    parser.add_argument("inputs", nargs="+", metavar="IMAGE|FOLDER|GLOB", help="what to enlarge")
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="a folder; or a file, for one picture")
    parser.add_argument("-s", "--scale", type=int, choices=SCALES, help="factor for both sides (4)")
    parser.add_argument("--bits", type=int, choices=range(2, 9), metavar="N", help="of the bundled network (3)")
    parser.add_argument("--model", metavar="FILE", help="a packed file instead of the bundled network")
    parser.add_argument("--format", choices=FORMATS, help="of the results; each picture's own if left out")
    parser.add_argument(
        "--tile", type=int, metavar="N", help="cut pictures into tiles of N pixels (only where memory asks for it)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="that one picture uses (all cores)")


def run(args: argparse.Namespace) -> int:
    """Enlarge the pictures and print a summary.

    Returns:
        0, or 1 if pictures failed, in any of the processes that share the work.

    Raises:
        CompSRTError: a wrong argument, no such picture or network, or a result that would replace a source.
    """
    from compsrt_plugin.upscale.jobs import list_jobs
    from compsrt_plugin.upscale.network import find_network

    jobs = list_jobs(args.inputs, args.out, f".{args.format}" if args.format else None)
    if args.threads is not None:
        checked("--threads", args.threads)
    if args.tile is not None and args.tile < 1:
        raise CompSRTError(f"--tile is {args.tile}", allowed="1 or more")
    path = find_network(args.scale, args.bits, args.model)

    from compsrt_plugin.inference import tile_of_size
    from compsrt_plugin.report.results import count_of
    from compsrt_plugin.upscale.network import network_for
    from compsrt_plugin.upscale.run import run_jobs
    from compsrt_plugin.upscale.sharing import Share

    share = Share.from_environment()
    threads = args.threads
    if threads is None and share.local_count > 1:
        threads = max(1, cores() // share.local_count)
    network = network_for(path, threads)
    tile = None if args.tile is None else tile_of_size(args.tile, network.window, "--tile")
    for what, asked, found in (("-s", args.scale, network.scale), ("--bits", args.bits, network.bits)):
        if asked is not None and asked != found:
            raise CompSRTError(f"{what} is {asked}, but {path} has {found}", hint=f"leave {what} out")
    first = share.rank == 0
    if first and jobs.left_alone:
        _say(f"left alone, not PNG, JPEG, WebP or TIFF by their ending: {count_of(jobs.left_alone, 'file')}")
    if first and not network.engine:
        _say(f"the simulated network runs, in PyTorch, slower than the engine ({network.why_not})")
    share.connect()
    own = share.of(jobs.jobs, [_bytes(job.source) for job in jobs.jobs])
    summary = run_jobs(own, jobs.root, network, tile, show_progress=first)
    total = share.everyones(summary)
    for other in total[1:]:
        total[0] += other
    if first or not share.connected:
        others = f", process {share.rank} of {share.count}" if share.count > 1 and not share.connected else ""
        sys.stdout.write(f"{args.out}: {total[0].text()}; x{network.scale} at {network.bits} bits{others}\n")
        sys.stdout.flush()
    share.everyones(None)  # not before the summary is out
    return 1 if total[0].failures else 0


def _say(line: str) -> None:
    sys.stderr.write(f"basicsr upscale: {line}\n")


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
