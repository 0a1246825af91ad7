"""`basicsr profile`: measure where the time and the memory of a quantized network go."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.threads import checked, cores, startable

_MOST = {"--batch": 256, "--runs": 10_000}

EXAMPLES = """\
examples:
  basicsr profile compsrt_x4_3bit.yml
      the network that an option file tests, run by PyTorch in full precision, simulated, by the engine, and by ONNX
      Runtime and OpenVINO if installed: latency, throughput, peak memory, time per stage
  basicsr profile mine.safetensors --size 320x180 --threads 2 --runs 30
      one setting, more rounds
  basicsr profile mine.safetensors --batch 1 4
      also images per second in batches of 4
  basicsr profile mine.safetensors --json > mine.json
      as JSON: eager_ms, simulated_ms, engine_ms, openvino_ms, onnxruntime_ms and more
  basicsr profile mine.safetensors --out stages.png
      also a chart of the stages

All runtimes take turns in one process, and each round starts with a different one. Their ratios therefore hold on a
busy machine too. Stages, memory, and the cost of transform and mask are measured at the smallest batch and the most
threads.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="FILE", help="a packed file, or an option file (path or installed name)")
    parser.add_argument("--size", default="64x64", metavar="HxW", help="input size in low-resolution pixels (64x64)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], metavar="N", help="images per batch (1)")
    parser.add_argument("--threads", type=int, nargs="+", metavar="N", help="numbers of threads (1, and one per core)")
    parser.add_argument(
        "--runs", type=int, metavar="N", help="rounds per setting (those that begin within 6 seconds, 3 to 10)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--out", metavar="PICTURE.png", help="also write a chart of the stages")


def run(args: argparse.Namespace) -> int:
    """Measure, print tables or JSON, and write the chart if asked.

    Raises:
        CompSRTError: the file is missing or damaged, or a number is out of range.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # before torch is imported; otherwise its profiler logs each start
    threads = [checked("--threads", count) for count in args.threads or sorted({1, startable(cores())})]
    if startable(max(threads)) < max(threads):
        found = f"--threads is {max(threads)}, but the system starts only {startable(max(threads))}"
        raise CompSRTError(found, hint="raise the limit on processes and threads, or use fewer")
    for flag, values in (("--batch", args.batch), ("--runs", [] if args.runs is None else [args.runs])):
        for value in values:
            if not 1 <= value <= _MOST[flag]:
                raise CompSRTError(f"{flag} is {value}", allowed=f"1 to {_MOST[flag]}")

    from compsrt_plugin.analysis.profile.profile_table import profile_text, profile_to_dict
    from compsrt_plugin.analysis.profile.profiling import profile_network
    from compsrt_plugin.analysis.profile.stage_chart import draw_stages
    from compsrt_plugin.cli.report import parse_size
    from compsrt_plugin.files import check_ending, write_whole
    from compsrt_plugin.packed.open import find_packed
    from compsrt_plugin.report.drawing import png_bytes

    size = parse_size(args.size)
    if args.out:
        check_ending("--out", args.out, ".png")
    path = find_packed(args.source)
    profile = profile_network(path, size, args.batch, threads, args.runs, _tell)
    sys.stdout.write((json.dumps(profile_to_dict(profile), indent=2) if args.json else profile_text(profile)) + "\n")
    if args.out:
        write_whole(Path(args.out).expanduser(), png_bytes(draw_stages(profile)))
    return 0


def _tell(what: str) -> None:
    sys.stderr.write(f"basicsr profile: {what}\n")
