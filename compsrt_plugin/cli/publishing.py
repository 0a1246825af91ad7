"""The part of `basicsr export` that describes a network for the Hugging Face Hub and for OpenModelDB."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.open import open_packed

READS = {"hub": ("license", "results"), "openmodeldb": ("license", "author", "url", "onnx_file")}


def add_arguments(parser: argparse.ArgumentParser, target: Any) -> None:
    """Declare the arguments.

    Args:
        parser: of `basicsr export`.
        target: its group of things to write.
    """
    target.add_argument("--hub", metavar="FOLDER", help="the folder for a repository of the Hugging Face Hub")
    target.add_argument("--openmodeldb", metavar="FOLDER", help="the folder for an entry of OpenModelDB (data/models)")
    group = parser.add_argument_group("for --hub and --openmodeldb")
    group.add_argument("--license", metavar="ID", help="license of the weights, such as apache-2.0")
    group.add_argument("--results", metavar="FILE", help="results.json of a test of this file, for --hub")
    group.add_argument("--author", metavar="ID", help="your id in OpenModelDB")
    group.add_argument("--url", metavar="URL", help="where the files will be, for --openmodeldb")
    group.add_argument("--onnx-file", metavar="FILE", help="the network's ONNX file, for --openmodeldb")


def check(args: argparse.Namespace) -> None:
    """Refuse options that the target does not read.

    Raises:
        CompSRTError: names the option and the target that reads it.
    """
    chosen = next((target for target in READS if getattr(args, target)), None)
    for option in sorted({option for options in READS.values() for option in options}):
        if getattr(args, option) is not None and option not in READS.get(chosen or "", ()):
            readers = [f"--{target}" for target, options in READS.items() if option in options]
            raise CompSRTError(f"--{option.replace('_', '-')} is given", allowed="with " + " or ".join(readers))
    if chosen == "openmodeldb" and not (args.author and args.url):
        raise CompSRTError("--openmodeldb needs --author and --url", hint="give your id there and the files' folder")


def run(args: argparse.Namespace, path: Path) -> int:
    """Write what was asked for and say so.

    Raises:
        CompSRTError: the file cannot be read, an option is wrong, or the folder cannot be written.
    """
    from compsrt_plugin.publish import write_entry, write_repository
    from compsrt_plugin.report import read_results

    source = open_packed(path)
    if args.hub:
        folder = Path(args.hub).expanduser()
        results = None if args.results is None else read_results(Path(args.results).expanduser())
        size = write_repository(folder, source, license_id=args.license, results=results)
        sys.stdout.write(f"{folder}: config.json, README.md, model.safetensors ({size:,} bytes)\n")
        if args.license is None:
            sys.stdout.write("The card names no license: give one with --license.\n")
        return 0
    files = [path, *([] if args.onnx_file is None else [Path(args.onnx_file).expanduser()])]
    folder = Path(args.openmodeldb).expanduser()
    entry = write_entry(folder, source, files, author=args.author, url=args.url, license_id=args.license)
    sys.stdout.write(f"{entry}: {len(files)} files; write its description and add images\n")
    return 0
