"""`basicsr analyze`: what a transform does to each tensor of a network, and where quantization hurts."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from compsrt_plugin.errors import CompSRTError

DESCRIPTION = """\
Say by statistics what the Hadamard transform does to the tensors that are quantized: weights, inputs of linear layers,
operands of attention. Range, values near zero, kurtosis, outliers, normality and the error at 2, 3 and 4 bits are taken
before and after each transform of the package, and compared across all places by paired tests. Sentences say whether
what the CompSRT paper reports holds on this network.
"""

EXAMPLES = """\
examples:
  basicsr analyze -opt compsrt_x4_3bit.yml
      the full-precision network of an option file, on its calibration patches, or on four pictures that come with
      the package where it has none; results go to results/analyze_compsrt_x4_3bit
  basicsr analyze dat_light_x4.pth --images DIV2K_LR --out dat
      any weight file of SwinIR-light, or that spandrel reads, on a folder of low-resolution pictures
  basicsr analyze mine.safetensors
      the activations of a packed network; its weights are codes already
  basicsr analyze -opt compsrt_x4_3bit.yml --walk butterfly.png
      also send a low-resolution picture through the quantized network, and say block by block what is lost

Written: summary.md and summary.json, analysis.json and places.csv with every place, and pictures where matplotlib is
installed (pip install 'compsrt_plugin[plot]').
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is analyzed, on what, and where results go."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "source", nargs="?", metavar="FILE", help="a packed file, a weight file, or an option file (path or name)"
    )
    parser.add_argument("-opt", metavar="FILE", help="an option file: the same as naming it without -opt")
    parser.add_argument("--images", metavar="FOLDER", help="low-resolution pictures to run the network on")
    parser.add_argument("--patches", type=int, metavar="N", help="patches of the pictures to take (all)")
    parser.add_argument("--walk", metavar="IMAGE", help="also follow this low-resolution picture, block by block")
    parser.add_argument("--out", metavar="FOLDER", help="where results go (results/analyze_NAME)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of samples and intervals (0)")
    parser.add_argument(
        "--force_yml", nargs="+", default=[], metavar="BLOCK:KEY=VALUE", help="change an option file's options"
    )


def run(args: argparse.Namespace) -> int:
    """Analyze, write the results, and print the sentences.

    Raises:
        CompSRTError: no such file or network, or a number out of range.
    """
    source = args.opt or args.source
    if source is None or (args.opt and args.source):
        found = "no network was named" if source is None else f"both {args.opt} and {args.source} were named"
        raise CompSRTError(found, allowed="one option file, packed file or weight file")
    if args.patches is not None and args.patches < 1:
        raise CompSRTError(f"--patches is {args.patches}", allowed="1 or more")
    if args.seed < 0:
        raise CompSRTError(f"--seed is {args.seed}", allowed="0 or more")

    from compsrt_plugin.analysis.tensors import plots
    from compsrt_plugin.analysis.tensors.report import write
    from compsrt_plugin.analysis.tensors.run import analyze

    missing = plots.missing()
    analysis = analyze(
        source,
        force_yml=args.force_yml,
        images=Path(args.images).expanduser() if args.images else None,
        most=args.patches,
        picture=Path(args.walk).expanduser() if args.walk else None,
        seed=args.seed,
        command=_command(args, source),
    )
    folder = Path(args.out or Path("results", f"analyze_{analysis.about['name']}")).expanduser()
    written = write(analysis, folder)
    if missing is None:
        written += plots.draw(analysis, folder)
    for verdict in analysis.verdicts:
        sys.stdout.write(f"{verdict.sentence}\n")
    for line in analysis.walk.sentences() if analysis.walk else ():
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"Written to {folder}: {', '.join(path.name for path in written)}\n")
    if missing is not None:
        sys.stderr.write(f"basicsr analyze: {missing}\n")
    return 0


def _command(args: argparse.Namespace, source: str) -> str:
    """Return the command line that decides the result."""
    words = ["basicsr", "analyze", source]
    for flag in ("images", "patches", "walk"):
        if getattr(args, flag) is not None:
            words += [f"--{flag}", str(getattr(args, flag))]
    words += ["--seed", str(args.seed)] if args.seed else []
    words += ["--force_yml", *args.force_yml] if args.force_yml else []
    return shlex.join(words)
