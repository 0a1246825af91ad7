"""Run BasicSR's pipelines for `basicsr train` and `basicsr test`, after all checks that can be made before."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import locale
import os
import shlex
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from compsrt_plugin.cli.run_folder import check_writable, keeps_earlier_results
from compsrt_plugin.cli.run_lock import run_lock
from compsrt_plugin.config.load import Preset, load_option_file
from compsrt_plugin.errors import CompSRTError

RUN_ROOTS = {"test": "results", "train": "experiments"}
UTF8_LOCALES = ("C.UTF-8", "en_US.UTF-8", ".UTF-8")  # on Linux, macOS and Windows
SET_BY_LAUNCHER = {"pytorch": "RANK", "slurm": "SLURM_PROCID"}  # environment variables that BasicSR reads


def add_pipeline_arguments(parser: argparse.ArgumentParser, debug: str) -> None:
    """Declare the flags of BasicSR's `parse_options`, with the same meaning.

    Args:
        parser: the subcommand's.
        debug: help text of `--debug`.
    """
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file: a path or an installed name")
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm"], default="none", help="job launcher")
    parser.add_argument("--auto_resume", action="store_true", help="resume from the newest training state")
    parser.add_argument("--debug", action="store_true", help=debug)
    parser.add_argument("--local_rank", type=int, default=0, help="set by the launcher")
    parser.add_argument(
        "--force_yml",
        nargs="+",
        default=[],
        metavar="BLOCK:KEY=VALUE",
        help="change options; values are YAML, for example quant:bits=2 or val:save_img=false",
    )


def run_pipeline(args: argparse.Namespace, command: str, presets: Sequence[Preset] = ()) -> int:
    """Check the options, then run BasicSR's pipeline for `command` in the current folder.

    Args:
        args: the parsed flags.
        command: `train` or `test`.
        presets: change the options, in order; `--force_yml` comes last.

    Raises:
        CompSRTError: an error in the options, found before anything is written; or a later error (a broken checkpoint
            or image), after which the run folder is removed.
    """
    variable = SET_BY_LAUNCHER.get(args.launcher)
    if variable is not None and variable not in os.environ:
        raise CompSRTError(
            f"--launcher {args.launcher}, but {variable} is not set in the environment",
            hint=f"start with: torchrun --nproc_per_node=2 -m compsrt_plugin {command} … --launcher pytorch",
        )
    file = load_option_file(args.opt, command, args.force_yml, presets)
    source, options = file.path, file.options
    if options.get("val") is None and (args.debug or "debug" in options["name"]):
        options.pop("val", None)  # with --debug, BasicSR changes val_freq and does not expect a block that is null
    if getattr(args, "strict_data", False):
        for dataset in options["datasets"].values():
            dataset["strict_data"] = True
    if getattr(args, "engine", False):
        options["val"]["engine"] = True
    root = Path.cwd()
    check_writable(root / RUN_ROOTS[command])

    from compsrt_plugin import register

    register()
    from compsrt_plugin.basicsr_compat.hooks import train_loader_of
    from compsrt_plugin.data.basicsr_sets import check_basicsr_sets

    ours = train_loader_of(options["model_type"]) is not None
    check_basicsr_sets(options, ours=ours)
    _check_devices(options)
    if command == "train" and ours and options.get("manual_seed") is None:
        # BasicSR would draw a seed in each process and on each resume, and the patches would not be those of one run.
        options["manual_seed"] = 0
    with tempfile.TemporaryDirectory(prefix="basicsr_") as folder:
        resolved = Path(folder, source.name)
        content = _option_text(source, options, changed=options != file.given)
        resolved.write_text(content, encoding="utf-8")
        folders = _run_folders(root, options["name"], command, args)
        with _text_as_utf8(needed=not content.isascii()), _guarded(folders):
            _hand_over(args, command, resolved, root)
    return 0


def _check_devices(options: Mapping[str, Any]) -> None:
    import torch

    num_gpu, found = options["num_gpu"], torch.cuda.device_count()
    if num_gpu != "auto" and int(num_gpu) > found:
        raise CompSRTError(
            f"num_gpu is {num_gpu}, {found} found", hint="num_gpu: auto uses the GPUs that are there, 0 the CPU"
        )
    if options["datasets"].get("train", {}).get("prefetch_mode") == "cuda" and not (found and num_gpu):
        raise CompSRTError("datasets.train.prefetch_mode is cuda, but there is no GPU", allowed="cpu or null on a CPU")


def _option_text(source: Path, options: Mapping[str, Any], changed: bool) -> str:
    """Return the text of the option file that BasicSR reads and copies: the original if unchanged."""
    text = source.read_text(encoding="utf-8")
    if not changed and yaml.safe_load(text) == options:  # our reader parses 1e-4 as a number, PyYAML does not
        return text
    return f"# {source.name} with the changes of the command line\n" + yaml.safe_dump(dict(options), sort_keys=False)


def _run_folders(root: Path, name: str, command: str, args: argparse.Namespace) -> list[Path]:
    """Return the folders that this process makes and cleans up. Only the first of several processes does so."""
    if int(os.environ.get(SET_BY_LAUNCHER.get(args.launcher, ""), "0")) > 0:
        return []
    name = f"debug_{name}" if args.debug and not name.startswith("debug") else name
    return [root / folder / name for folder in (RUN_ROOTS[command], *(["tb_logger"] if command == "train" else []))]


@contextmanager
def _text_as_utf8(needed: bool) -> Iterator[None]:
    """Make BasicSR open text files as UTF-8, like option files, within the context. It uses the locale's encoding.

    Args:
        needed: whether the option file has non-ASCII characters.

    Raises:
        CompSRTError: UTF-8 is needed, and this machine has no UTF-8 locale.
    """
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        if codecs.lookup(locale.getpreferredencoding(False)).name != "utf-8":
            _set_locale_of_utf8(needed)
        yield
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def _set_locale_of_utf8(needed: bool) -> None:
    for name in UTF8_LOCALES:
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, name)
            return
    if needed:
        encoding = locale.getpreferredencoding(False)
        found = f"the option file has non-ASCII characters, and the locale's encoding is {encoding}"
        raise CompSRTError(found, hint="start with PYTHONUTF8=1 in the environment")


@contextmanager
def _guarded(folders: list[Path]) -> Iterator[None]:
    with ExitStack() as guards:
        for folder in folders[:1]:
            guards.enter_context(run_lock(folder))
        guards.enter_context(keeps_earlier_results(folders))
        yield


def _hand_over(args: argparse.Namespace, command: str, options: Path, root: Path) -> None:
    """Call BasicSR's pipeline, which reads its options from the command line."""
    forced = ["--force_yml", *args.force_yml] if args.force_yml else []
    preset = ["--preset", args.preset] if getattr(args, "preset", None) else []
    told = shlex.join(["basicsr", command, "-opt", args.opt, *preset, *forced])
    # BasicSR writes these words next to its results. What was typed is more useful there than our temporary file.
    argv = [f"{told}  # handed on as:", "-opt", str(options), "--launcher", args.launcher]
    argv += ["--auto_resume"] if args.auto_resume else []
    argv += ["--debug"] if args.debug else []
    argv += ["--local_rank", str(args.local_rank)]
    # BasicSR's SwinIR calls meshgrid without `indexing`
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    before, sys.argv = sys.argv, argv
    try:
        if command == "train":
            from basicsr.train import train_pipeline

            train_pipeline(str(root))
        else:
            from basicsr.test import test_pipeline

            test_pipeline(str(root))
    finally:
        sys.argv = before
