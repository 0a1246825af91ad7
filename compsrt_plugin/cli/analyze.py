"""`basicsr analyze`: measure what the transforms do to each tensor of a network, and where quantization hurts."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from compsrt_plugin.errors import CompSRTError

DESCRIPTION = """\
Measure what the Hadamard transform does to the quantized tensors: weights, inputs of linear layers, operands of
attention. For each tensor, the range, the share of values near zero, kurtosis, outliers, normality and the error at
2, 3 and 4 bits are computed before and after each transform of the package. Paired tests compare them across tensors.
The summary says which findings of the CompSRT paper hold on this network.
"""

EXAMPLES = """\
examples:
  basicsr analyze -opt compsrt_x4_3bit.yml
      the full-precision network of an option file, on its calibration patches; without a training set, on four
      images that come with the package; results go to results/analyze_compsrt_x4_3bit
  basicsr analyze dat_light_x4.pth --images DIV2K_LR --out dat
      weights of SwinIR-light, or of a network that spandrel reads, on a folder of low-resolution images
  basicsr analyze mine.safetensors
      the activations of a packed network, whose weights are codes already
  basicsr analyze -opt compsrt_x4_3bit.yml --walk butterfly.png
      also run a low-resolution image through the quantized network and show what each block loses

Written: summary.md and summary.json; analysis.json and places.csv, with every tensor; charts if matplotlib is installed
(pip install 'compsrt_plugin[plot]').
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "source", nargs="?", metavar="FILE", help="a packed file, a weight file, or an option file (path or name)"
    )
    parser.add_argument("-opt", metavar="FILE", help="an option file; the same as naming it without -opt")
    parser.add_argument("--images", metavar="FOLDER", help="folder of low-resolution images to run the network on")
    parser.add_argument("--patches", type=int, metavar="N", help="number of patches to use (all)")
    parser.add_argument(
        "--walk", metavar="IMAGE", help="also follow this low-resolution image through the network, block by block"
    )
    parser.add_argument("--out", metavar="FOLDER", help="folder for the results (results/analyze_NAME)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the samples and the bootstrap (0)")
    parser.add_argument(
        "--force_yml", nargs="+", default=[], metavar="BLOCK:KEY=VALUE", help="change options of the option file"
    )


def run(args: argparse.Namespace) -> int:
    """Analyze a network, write the results, and print the findings.

    Raises:
        CompSRTError: the file or the network cannot be used, or a number is out of range.
    """
    source = args.opt or args.source
    if source is None or (args.opt and args.source):
        found = "no network is given" if source is None else f"both {args.opt} and {args.source} are given"
        raise CompSRTError(found, allowed="one option file, packed file or weight file")
    if args.patches is not None and args.patches < 1:
        raise CompSRTError(f"--patches is {args.patches}", allowed="1 or more")
    if args.seed < 0:
        raise CompSRTError(f"--seed is {args.seed}", allowed="0 or more")

    from compsrt_plugin.analysis.tensors import plots
    from compsrt_plugin.analysis.tensors.end_to_end import analyze
    from compsrt_plugin.analysis.tensors.summary import write_analysis

    missing = plots.missing_matplotlib()
    analysis = analyze(
        source,
        force_yml=args.force_yml,
        images=Path(args.images).expanduser() if args.images else None,
        most=args.patches,
        walk_image=Path(args.walk).expanduser() if args.walk else None,
        seed=args.seed,
        command=_command(args, source),
    )
    folder = Path(args.out or Path("results", f"analyze_{analysis.about['name']}")).expanduser()
    written = write_analysis(analysis, folder)
    if missing is None:
        written += plots.draw_analysis(analysis, folder)
    for verdict in analysis.verdicts:
        sys.stdout.write(f"{verdict.sentence}\n")
    for line in analysis.walk.sentences() if analysis.walk else ():
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"Written to {folder}: {', '.join(path.name for path in written)}\n")
    if missing is not None:
        sys.stderr.write(f"basicsr analyze: {missing}\n")
    return 0


def _command(args: argparse.Namespace, source: str) -> str:
    """Return the command line without the flags that do not change the result."""
    words = ["basicsr", "analyze", source]
    for flag in ("images", "patches", "walk"):
        if getattr(args, flag) is not None:
            words += [f"--{flag}", str(getattr(args, flag))]
    words += ["--seed", str(args.seed)] if args.seed else []
    words += ["--force_yml", *args.force_yml] if args.force_yml else []
    return shlex.join(words)
