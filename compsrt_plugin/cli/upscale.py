"""`basicsr upscale`: enlarge images with a quantized network."""

from __future__ import annotations

import argparse
import sys

from compsrt_plugin.buckets import Place, address_of
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.threads import checked, cores

DESCRIPTION = """\
Enlarge images with a quantized network: a bundled one, or your own (--model).

Reads and writes PNG, JPEG, WebP and TIFF: grey, palette or RGB, with or without alpha, 8 or 16 bits. Depth, colour
profile and EXIF data are kept. Pixels are not turned, and the orientation tag is kept. Alpha is enlarged by bicubic
interpolation.
"""

EXAMPLES = """\
examples:
  basicsr upscale cat.jpg -o cat_large.png
      one image, 4 times as wide and high, with the best bundled network
  basicsr upscale photos -o large
      all images in a folder; each keeps its name and format
  basicsr upscale 'scans/**/*.tif' -o large --format png
      all matching images, including subfolders (quoted, so that the shell does not expand the pattern)
  basicsr upscale photos -o large --network compsrt_x4_3bit
      with a bundled network by its name: faster here, less accurate
  basicsr upscale photos -o large --model experiments/mine/models/mine.safetensors
      with your own network, which determines the scale
  basicsr upscale photos -o large --model realesrgan.pth
      with weights that others published (ESRGAN, Compact, SPAN), quantized to 8 bits as they are read
  torchrun --nproc_per_node=2 -m compsrt_plugin upscale photos -o large
      two processes that share the images; several machines work the same way
  basicsr upscale photos -o large --ray auto
      on all machines of a Ray cluster, which see the same folders (local: one process for each core of this machine)
  basicsr upscale s3://bucket/photos -o s3://bucket/large --ray local
      from and to a bucket; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL say how it is reached

Repeating a command resumes it: results that exist, made from the same source by the same network, are kept. An image
that cannot be used is named, and the others are made.

exit code: 0 all done; 1 some images failed; 2 a wrong argument, nothing was made
"""

_FORMATS = ("png", "jpg", "webp", "tif")
_SCALES = (2, 3, 4)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IMAGE|FOLDER|GLOB",
        help="images to enlarge; s3://BUCKET/KEY names those of a bucket",
    )
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="output folder, or output file for one image")
    parser.add_argument("-s", "--scale", type=int, choices=_SCALES, help="enlargement factor (4)")
    parser.add_argument(
        "--bits", type=int, choices=range(2, 9), metavar="N", help="code width of the bundled network (4)"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--network", metavar="NAME", help="a bundled network (the best of this scale and code width)")
    which.add_argument("--model", metavar="FILE|URL", help="a packed file, or weights of a network of convolutions")
    parser.add_argument("--format", choices=_FORMATS, help="format of the results (that of each source)")
    parser.add_argument(
        "--tile", type=int, metavar="N", help="cut images into tiles of N pixels (only if memory requires it)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads per image (all cores; with --ray 1)")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="share the images on a Ray cluster: its address, auto, or local for a new one"
    )


def run(args: argparse.Namespace) -> int:
    """Enlarge the images and print a summary.

    Returns:
        0, or 1 if images failed in any of the processes that share the work.

    Raises:
        CompSRTError: an argument is wrong, an image or the network is missing, or a result would replace a source.
    """
    from compsrt_plugin.upscale.jobs import list_jobs
    from compsrt_plugin.upscale.open_network import find_network

    jobs = list_jobs(args.inputs, args.out, f".{args.format}" if args.format else None)
    if args.threads is not None:
        checked("--threads", args.threads)
    if args.tile is not None and args.tile < 1:
        raise CompSRTError(f"--tile is {args.tile}", allowed="1 or more")
    path = find_network(args.scale, args.bits, args.network, args.model)

    from compsrt_plugin.cluster import UpscaleFiles
    from compsrt_plugin.cluster.on_ray import run_on_ray
    from compsrt_plugin.inference import tile_of_size
    from compsrt_plugin.report.results import count_of
    from compsrt_plugin.upscale.run_jobs import run_jobs
    from compsrt_plugin.upscale.sharing import ProcessShare
    from compsrt_plugin.upscale.weight_files import open_file

    share = ProcessShare.from_environment()
    if args.ray is not None and share.count > 1:
        raise CompSRTError("--ray shares the images itself", hint="start one process, without torchrun")
    threads = args.threads
    if threads is None and share.local_count > 1:
        threads = max(1, cores() // share.local_count)
    asked_for = {name: getattr(args, name) for name in ("network", "model", "scale", "bits", "tile")}
    worker = UpscaleFiles(address_of(jobs.root.absolute()), **asked_for, threads=threads or 1)
    network = open_file(path, threads) if args.ray is None else worker.open()
    tile = None if args.tile is None else tile_of_size(args.tile, network.window, "--tile")
    for what, asked, found in (("-s", args.scale, network.scale), ("--bits", args.bits, network.bits)):
        if asked is not None and asked != found:
            raise CompSRTError(f"{what} is {asked}, but {path} has {found}", hint=f"leave {what} out")
    first = share.rank == 0
    if first and jobs.left_alone:
        _say(f"ignored {count_of(jobs.left_alone, 'file')} whose extension is not one of PNG, JPEG, WebP or TIFF")
    if first and not network.engine:
        _say(f"running the simulated network in PyTorch, which is slower than the engine ({network.why_not})")
    share.connect()
    own = share.of(jobs.jobs, [_bytes(job.source) for job in jobs.jobs])
    if args.ray is None:
        summary = run_jobs(own, jobs.root, network, tile, show_progress=first)
    else:
        summary = run_on_ray(args.ray, own, worker)
    total = share.gathered(summary)
    for other in total[1:]:
        total[0] += other
    if first or not share.connected:
        others = f", process {share.rank} of {share.count}" if share.count > 1 and not share.connected else ""
        sys.stdout.write(f"{args.out}: {total[0].text()}; x{network.scale} at {network.bits} bits{others}\n")
        sys.stdout.flush()
    share.gathered(None)  # torchrun may end all processes after this, so the summary is printed before
    return 1 if total[0].failures else 0


def _say(line: str) -> None:
    sys.stderr.write(f"basicsr upscale: {line}\n")


def _bytes(place: Place) -> int:
    try:
        return place.stat().st_size
    except (OSError, CompSRTError):
        return 0
