"""`basicsr report`: report the size of a quantized network, its bytes by layer, and the sources of its error."""

from __future__ import annotations

import argparse
import json
import re
import sys
from functools import partial
from pathlib import Path

from compsrt_plugin.analysis import sensitivity
from compsrt_plugin.analysis.sizes import Account, account_for, count_products
from compsrt_plugin.analysis.sizes.size_map import draw_size_map
from compsrt_plugin.analysis.sizes.size_table import size_text
from compsrt_plugin.engine import Engine
from compsrt_plugin.engine.layer_runs import layers_text, layers_to_list
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import check_ending, write_whole
from compsrt_plugin.packed import read_packed
from compsrt_plugin.packed.header import Header
from compsrt_plugin.packed.open import build, count_parameters, find_packed, open_packed
from compsrt_plugin.quant import quantized_layers
from compsrt_plugin.report.drawing import png_bytes
from compsrt_plugin.terminal import progress

_LARGEST = 1 << 16  # pixels per side

EXAMPLES = """\
examples:
  basicsr report mine.safetensors
      one line per layer: bits, pruned share, theoretical bits, entropy, bytes on disk, operations
  basicsr report compsrt_x4_3bit.yml --json
      the same as JSON, for the network that an option file tests or has trained
  basicsr report mine.safetensors --size 320x180 --picture where.png
      operations for images of 320 x 180 pixels, and a chart of where the bytes go
  basicsr report mine.safetensors --engine
      how the engine runs each layer: in integers, in compiled floats or in PyTorch, and why
  basicsr report mine.safetensors --sensitivity 12
      the twelve activations whose quantization harms the output most, estimated in seconds, and the overrides that
      give them 6 bits; with --exact each activation is measured, which takes minutes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="FILE", help="a packed file, or an option file (path or installed name)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--options", action="store_true", help="print the option file that the network was made with, and nothing else"
    )
    parser.add_argument(
        "--size",
        default="64x64",
        metavar="HxW",
        help="image size for which operations are counted, in low-resolution pixels (64x64)",
    )
    what.add_argument(
        "--engine", action="store_true", help="list how the engine runs each layer, and why not in integers"
    )
    what.add_argument("--picture", metavar="FILE.png", help="also write a chart of where the bytes go")
    what.add_argument(
        "--sensitivity", metavar="N", type=int, nargs="?", const=12,
        help="list the N activations (12) whose quantization harms the output most, and nothing else",
    )  # fmt: skip
    parser.add_argument(
        "--exact", action="store_true",
        help="with --sensitivity: measure each activation by quantizing it alone, instead of estimating all at once",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print the table or JSON, and write the chart if asked.

    Raises:
        CompSRTError: the file is missing or damaged, or the size or the number of activations is invalid.
    """
    size = parse_size(args.size)
    if args.sensitivity is not None and args.sensitivity < 1:
        raise CompSRTError(f"--sensitivity is {args.sensitivity}", allowed="1 or more activations")
    if args.exact and args.sensitivity is None:
        raise CompSRTError("--exact without --sensitivity", hint="basicsr report FILE --sensitivity --exact")
    if args.picture:
        check_ending("--picture", args.picture, ".png")
    path = find_packed(args.source)
    if args.options:
        sys.stdout.write(options_of(path))
        return 0
    if args.engine:
        layers = Engine(open_packed(path)).layers(*size)
        sys.stdout.write((json.dumps(layers_to_list(layers), indent=2) if args.json else layers_text(layers)) + "\n")
        return 0
    if args.sensitivity is not None:
        unit = "activations" if args.exact else "images"
        shown = partial(progress, desc="sensitivity", unit=unit)
        found = sensitivity.on_embedded(open_packed(path), args.exact, shown)
        if args.json:
            sys.stdout.write(json.dumps(sensitivity.sensitivity_to_dict(found), indent=2) + "\n")
        else:
            sys.stdout.write(sensitivity.sensitivity_text(found, args.sensitivity) + "\n")
        return 0
    account, title = report_on(path, size)
    sys.stdout.write((json.dumps(account.to_dict(), indent=2) if args.json else size_text(account)) + "\n")
    if args.picture:
        write_whole(Path(args.picture).expanduser(), png_bytes(draw_size_map(account, title)))
    return 0


def options_of(path: Path) -> str:
    """Return the resolved option file that a packed file was made with.

    Raises:
        CompSRTError: the file is missing, damaged, not a packed file, or does not hold its option file.
    """
    options = Header.parse(read_packed(path).header, path).options
    if options is None:
        raise CompSRTError(f"{path} does not hold its option file", hint="files made before version 0.2 do not")
    return options


def report_on(path: str | Path, size: tuple[int, int] = (64, 64)) -> tuple[Account, str]:
    """Return the size account of a packed file, and a title for it.

    Args:
        path: the packed file.
        size: height and width of the low-resolution image for which operations are counted.

    Raises:
        CompSRTError: the file is missing, damaged, or not a packed file.
    """
    source = open_packed(path)
    kept = {}
    for name, layer in quantized_layers(source.network):
        rows, columns = layer.kept()
        shape = layer.quantized_matrix().shape
        kept[name] = (shape[0] if rows is None else len(rows), shape[1] if columns is None else len(columns))
    plain = build(source.header, source.path)
    counted, left = count_products(plain, *size, kept), getattr(plain, "kept", None)
    account = account_for(source.packed, source.network, counted, size, count_parameters(plain), left)
    return account, f"{source.path.name}: x{source.header.scale}, {source.header.bits} bits"


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) from the text `HxW`.

    Raises:
        CompSRTError: the text has another form, or a side is 0 or more than 65,536.

    >>> parse_size("320x180")
    (320, 180)
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(0 < side <= _LARGEST for side in size):
        raise CompSRTError(f"--size is {text!r}", allowed="height x width in low-resolution pixels, for example 64x64")
    return size
