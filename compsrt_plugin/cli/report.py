"""`basicsr report`: how large a quantized network is, where its bytes go, and where its errors come from."""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from functools import partial
from pathlib import Path

from compsrt_plugin.analysis import sensitivity
from compsrt_plugin.analysis.sizes import Account, account_for, count_products
from compsrt_plugin.analysis.sizes.picture import draw
from compsrt_plugin.analysis.sizes.table import text_table
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import check_ending, write_whole
from compsrt_plugin.packed import read_packed
from compsrt_plugin.packed.header import Header
from compsrt_plugin.packed_network import build, count_parameters, find_packed, open_packed
from compsrt_plugin.quant import quantized_layers
from compsrt_plugin.terminal import progress

LARGEST = 1 << 16  # pixels of a side: counts of anything larger mean nothing

EXAMPLES = """\
examples:
  basicsr report mine.safetensors
      a line per layer: bits, pruned share, theoretical bits, entropy, bytes on disk, operations
  basicsr report compsrt_x4_3bit.yml --json
      the same of the network that an option file tests or has made, for programs
  basicsr report mine.safetensors --size 320x180 --picture where.png
      operations for pictures of 320 x 180 pixels, and a picture of where the bytes go
  basicsr report mine.safetensors --sensitivity 12
      the twelve activations whose quantization harms the output most, estimated in seconds, and the overrides that
      give them 6 bits; with --exact each is measured, which takes minutes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is reported on, and how."""
    parser.add_argument("source", metavar="FILE", help="a packed file, or an option file (path or installed name)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--options", action="store_true", help="print the option file it was made with instead")
    parser.add_argument(
        "--size", default="64x64", metavar="HxW", help="low-resolution pixels operations are counted for (64x64)"
    )
    what.add_argument("--picture", metavar="FILE.png", help="also draw where the bytes go")
    what.add_argument(
        "--sensitivity", metavar="N", type=int, nargs="?", const=12,
        help="instead: the N activations (12) whose quantization harms the output most",
    )  # fmt: skip
    parser.add_argument(
        "--exact", action="store_true",
        help="with --sensitivity: measure it, by quantizing one activation at a time, instead of estimating it",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print the table or JSON; draw the picture if asked.

    Raises:
        CompSRTError: no such file, a damaged one, a size that is none, or a count of activations that is none.
    """
    size = parse_size(args.size)
    if args.sensitivity is not None and args.sensitivity < 1:
        raise CompSRTError(f"--sensitivity is {args.sensitivity}", allowed="how many activations to list, from 1 up")
    if args.exact and args.sensitivity is None:
        raise CompSRTError("--exact without --sensitivity", hint="basicsr report FILE --sensitivity --exact")
    if args.picture:
        check_ending("--picture", args.picture, ".png")
    path = find_packed(args.source)
    if args.options:
        sys.stdout.write(options_of(path))
        return 0
    if args.sensitivity is not None:
        unit = "activations" if args.exact else "pictures"
        shown = partial(progress, desc="sensitivity", unit=unit)
        found = sensitivity.on_embedded(open_packed(path), args.exact, shown)
        if args.json:
            sys.stdout.write(json.dumps(sensitivity.to_dict(found), indent=2) + "\n")
        else:
            sys.stdout.write(sensitivity.text_table(found, args.sensitivity) + "\n")
        return 0
    account, title = report_on(path, size)
    sys.stdout.write((json.dumps(account.to_dict(), indent=2) if args.json else text_table(account)) + "\n")
    if args.picture:
        buffer = io.BytesIO()
        draw(account, title).save(buffer, "PNG")
        write_whole(Path(args.picture).expanduser(), buffer.getvalue())
    return 0


def options_of(path: Path) -> str:
    """Return the option file, resolved, that a packed file was made with.

    Raises:
        CompSRTError: not there, damaged, something else, or a file that does not say.
    """
    options = Header.parse(read_packed(path).header, path).options
    if options is None:
        raise CompSRTError(f"{path} does not hold its option file", hint="files made before version 0.2 do not")
    return options


def report_on(path: str | Path, size: tuple[int, int] = (64, 64)) -> tuple[Account, str]:
    """Return the account of a packed file, and a title for it.

    Args:
        path: of the file.
        size: height and width of the low-resolution picture that operations are counted for.

    Raises:
        CompSRTError: not there, damaged, or something else.
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
    """Read `HxW`.

    Raises:
        CompSRTError: something else, or a side that is 0 or larger than anyone has.

    >>> parse_size("320x180")
    (320, 180)
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(0 < side <= LARGEST for side in size):
        raise CompSRTError(f"--size is {text!r}", allowed="height x width in low-resolution pixels, as in 64x64")
    return size
