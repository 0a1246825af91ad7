"""`basicsr profile`: where the time and the memory of a quantized network go."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from pathlib import Path

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.threads import checked, cores, startable

MOST = {"--batch": 256, "--runs": 10_000}

EXAMPLES = """\
examples:
  basicsr profile compsrt_x4_3bit.yml
      the network that an option file tests: full precision in PyTorch, simulated, engine, and ONNX Runtime and
      OpenVINO where they are installed; latency, throughput, peak memory, time per stage
  basicsr profile mine.safetensors --size 320x180 --batch 1 --threads 2 --runs 30
      one setting, more rounds
  basicsr profile mine.safetensors --json > mine.json
      for programs: eager_ms, simulated_ms, engine_ms, openvino_ms, onnxruntime_ms, and the rest
  basicsr profile mine.safetensors --out stages.png
      also a picture of the stages

All ways run in turns in one process, each round beginning with another, so their ratios hold on a busy machine too.
Stages, memory, and what transform and mask cost belong to the smallest batch and the most threads.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is measured, and how."""
    parser.add_argument("source", metavar="FILE", help="a packed file, or an option file (path or installed name)")
    parser.add_argument("--size", default="64x64", metavar="HxW", help="low-resolution pixels of the input (64x64)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], metavar="N", help="pictures at once (1 4)")
    parser.add_argument("--threads", type=int, nargs="+", metavar="N", help="threads (1, and one per core)")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="rounds of each setting (10)")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    parser.add_argument("--out", metavar="PICTURE.png", help="also draw the stages")


def run(args: argparse.Namespace) -> int:
    """Measure, print tables or JSON, draw the picture if asked.

    Raises:
        CompSRTError: no such file, a damaged one, or a number out of range.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # before torch is imported, or its profiler tells of each start
    threads = [checked("--threads", count) for count in args.threads or sorted({1, startable(cores())})]
    if startable(max(threads)) < max(threads):
        found = f"--threads is {max(threads)}, and the system starts {startable(max(threads))}"
        raise CompSRTError(found, hint="raise its limit on processes and threads, or ask for fewer")
    for flag, values in (("--batch", args.batch), ("--runs", [args.runs])):
        for value in values:
            if not 1 <= value <= MOST[flag]:
                raise CompSRTError(f"{flag} is {value}", allowed=f"1 to {MOST[flag]}")

    from compsrt_plugin.analysis.profile.measure import profile_network
    from compsrt_plugin.analysis.profile.picture import draw
    from compsrt_plugin.analysis.profile.table import text_table, to_dict
    from compsrt_plugin.cli.report import parse_size
    from compsrt_plugin.files import check_ending, write_whole
    from compsrt_plugin.packed_network import find_packed

    size = parse_size(args.size)
    if args.out:
        check_ending("--out", args.out, ".png")
    path = find_packed(args.source)
    profile = profile_network(path, size, args.batch, threads, args.runs, _tell)
    sys.stdout.write((json.dumps(to_dict(profile), indent=2) if args.json else text_table(profile)) + "\n")
    if args.out:
        buffer = io.BytesIO()
        draw(profile).save(buffer, "PNG")
        write_whole(Path(args.out).expanduser(), buffer.getvalue())
    return 0


def _tell(what: str) -> None:
    sys.stderr.write(f"basicsr profile: {what}\n")
