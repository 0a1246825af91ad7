"""Run the `basicsr` command: find the subcommand, parse its flags, run it, report errors.

Exit codes: 0 done; 1 partly failed (`upscale`), or `doctor` found that `basicsr test` cannot run; 2 a user error,
reported in one line; 130 interrupted; 141 the reader of the output closed it. Any other exception is a bug and shows
its traceback.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn, Protocol, cast

from compsrt_plugin import allocator, threads
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.terminal import drop_output, prepare_streams, reader_is_gone

# name -> summary; the code is compsrt_plugin.cli.NAME, imported when it is called
COMMANDS = {
    "test": "super-resolve images with a quantized network and score them",
    "train": "quantize a full-precision network",
    "upscale": "enlarge images: files and folders of PNG, JPEG, WebP, TIFF",
    "export": "write a quantized network as a packed file, ordinary weights or ONNX",
    "report": "report the size of a quantized network: bits, bytes, operations per layer",
    "analyze": "measure what the transforms do to each tensor, and where quantization hurts",
    "profile": "measure time and memory of a network: engine, PyTorch, ONNX Runtime, OpenVINO",
    "compare": "compare networks or results, with statistics and an HTML page",
    "prepare": "make the low-resolution images of a data set (MATLAB's bicubic)",
    "doctor": "check the installation, one line per part",
}

HELP = """\
usage: basicsr COMMAND [options]

Low-bit super-resolution transformers, on BasicSR.

commands:
{commands}

examples:
  basicsr test -opt compsrt_x4_3bit.yml         # an installed option file; needs no download
  basicsr test -opt my_options.yml              # your own option file
  basicsr train -opt compsrt_x4_3bit.yml --force_yml quant:bits=2 name=mine
  basicsr doctor                                # check the installation

basicsr COMMAND --help shows the options of a command. Results go to ./results, networks to ./experiments.
"""

# errors that the user can fix: reported in one line
USER_OS_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
BASICSR_NOT_WRITTEN = "Failed in writing images."  # BasicSR's only message for a full disk
READER_GONE = 141  # the shell's exit code for SIGPIPE


class Command(Protocol):
    """The interface of a subcommand's module."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the flags."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work and return the exit code."""
        ...


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise a CompSRTError instead of printing the usage."""
        raise CompSRTError(message, hint=f"see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `basicsr` command and return its exit code.

    Args:
        argv: the arguments after `basicsr`; by default those of the command line.
    """
    prepare_streams()
    try:
        code = dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except CompSRTError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("basicsr: interrupted\n")
        return 130
    except OSError as error:
        if isinstance(error, BrokenPipeError) and reader_is_gone():
            drop_output()
            return READER_GONE
        if str(error) == BASICSR_NOT_WRITTEN:
            return _complain("an image could not be written; free some space, or choose a folder that you may write to")
        if error.errno not in USER_OS_ERRORS:
            raise
        place = f": {error.filename}" if error.filename else ""
        return _complain(f"{error.strerror}{place}; nothing more was written")


def dispatch(argv: list[str]) -> int:
    """Find the subcommand, parse its flags, and run it.

    Raises:
        CompSRTError: the subcommand (the nearest name is suggested) or a flag is unknown.
    """
    if not argv or argv[0] in ("-h", "--help", "help"):
        commands = "\n".join(f"  {name:<9} {about}" for name, about in COMMANDS.items())
        sys.stdout.write(HELP.format(commands=commands))
        return 0
    name, *rest = argv
    if name == "--version":
        from compsrt_plugin import __version__

        sys.stdout.write(f"compsrt_plugin {__version__}\n")
        return 0
    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    allocator.keep_freed_memory()
    threads.fit_to_system()
    command = cast(Command, importlib.import_module(f"compsrt_plugin.cli.{name}"))
    parser = Parser(
        prog=f"basicsr {name}",
        description=COMMANDS[name].capitalize() + ".",
        epilog=getattr(command, "EXAMPLES", None),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    parser.add_argument(
        "--code", "--arch", dest="code", action="append", metavar="FILE.py",
        help="your own code: networks, adapters, pruning hooks, data sets, losses, … (may be repeated)",
    )  # fmt: skip
    try:
        args = parser.parse_args(rest)
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    if not args.code:
        return command.run(args)
    from compsrt_plugin.cli.own_code import own_code

    with own_code(args.code):
        return command.run(args)


def _complain(line: str) -> int:
    drop_output()
    # an unfinished progress bar would share its line with the error
    for bar in list(getattr(getattr(sys.modules.get("tqdm"), "tqdm", None), "_instances", ())):
        bar.close()
    sys.stderr.write(f"basicsr: error: {' '.join(line.split())}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
