"""What `basicsr train` and `basicsr test` share: check everything that can be checked, then hand over."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import copy
import locale
import os
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from compsrt_plugin.cli.run_folder import check_writable, keeps_earlier_results
from compsrt_plugin.cli.run_lock import run_lock
from compsrt_plugin.config.files import find_option_file
from compsrt_plugin.config.force_yml import apply_force_yml
from compsrt_plugin.config.layout import check_layout
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.errors import CompSRTError

FOLDERS = {"test": "results", "train": "experiments"}
UTF8_LOCALES = ("C.UTF-8", "en_US.UTF-8", ".UTF-8")  # of Linux, macOS and Windows
SET_BY_LAUNCHER = {"pytorch": "RANK", "slurm": "SLURM_PROCID"}  # what BasicSR reads from the environment


def add_pipeline_arguments(parser: argparse.ArgumentParser, debug: str) -> None:
    """Declare the flags that BasicSR's `parse_options` knows, with their meaning there.

    Args:
        parser: of the subcommand.
        debug: what `--debug` does in it.
    """
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file: a path or an installed name")
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm"], default="none", help="job launcher")
    parser.add_argument("--auto_resume", action="store_true", help="go on from the newest training state")
    parser.add_argument("--debug", action="store_true", help=debug)
    parser.add_argument("--local_rank", type=int, default=0, help="set by the launcher")
    parser.add_argument(
        "--force_yml",
        nargs="+",
        default=[],
        metavar="BLOCK:KEY=VALUE",
        help="change options; values are YAML, as in quant:bits=2 or val:save_img=false",
    )


Preset = Callable[[Mapping[str, Any]], list[str]]
"""Scale of an option file to changes of it, as entries for `--force_yml`."""


def run_pipeline(args: argparse.Namespace, command: str, presets: Sequence[Preset] = ()) -> int:
    """Check the options, then run BasicSR's pipeline for `command` in the current folder.

    Args:
        args: the flags.
        command: `train` or `test`.
        presets: what changes the file, in order, before `--force_yml` does, which has the last word.

    Raises:
        CompSRTError: a mistake in the options, found before anything is written; or one found later (a
            broken checkpoint or picture), after which the run's folder is gone again.
    """
    variable = SET_BY_LAUNCHER.get(args.launcher)
    if variable is not None and variable not in os.environ:
        raise CompSRTError(
            f"--launcher {args.launcher}, but {variable} is not set in the environment",
            hint=f"start with: torchrun --nproc_per_node=2 -m compsrt_plugin {command} … --launcher pytorch",
        )
    source = find_option_file(args.opt, command)
    options = read_option_file(source)
    given = copy.deepcopy(options)
    for preset in presets:
        apply_force_yml(options, preset(options))
    apply_force_yml(options, args.force_yml)
    check_layout(options, command, source.name)
    if options.get("val") is None and (args.debug or "debug" in options["name"]):
        options.pop("val", None)  # BasicSR, which then changes val_freq, takes one that is null for a block
    if getattr(args, "strict_data", False):
        for dataset in options["datasets"].values():
            dataset["strict_data"] = True
    if getattr(args, "engine", False):
        options["val"]["engine"] = True
    root = Path.cwd()
    check_writable(root / FOLDERS[command])

    from compsrt_plugin import register

    register()
    from compsrt_plugin.basicsr_compat.hooks import train_loader_of
    from compsrt_plugin.data.basicsr_sets import check_basicsr_sets

    ours = train_loader_of(options["model_type"]) is not None
    check_basicsr_sets(options, ours=ours)
    _check_devices(options)
    if command == "train" and ours and options.get("manual_seed") is None:
        # BasicSR draws one in each process, and anew when a run goes on: patches would not be those of one run
        options["manual_seed"] = 0
    with tempfile.TemporaryDirectory(prefix="basicsr_") as folder:
        resolved = Path(folder, source.name)
        content = _option_text(source, options, changed=options != given)
        resolved.write_text(content, encoding="utf-8")
        folders = _run_folders(root, options["name"], command, args)
        with _text_as_utf8(needed=not content.isascii()), _guarded(folders):
            _hand_over(args, command, resolved, root)
    return 0


def _check_devices(options: Mapping[str, Any]) -> None:
    import torch

    num_gpu, found = options["num_gpu"], torch.cuda.device_count()
    if num_gpu != "auto" and int(num_gpu) > found:
        raise CompSRTError(f"num_gpu is {num_gpu}, {found} found", hint="num_gpu: auto takes what is there, 0 the CPU")
    if options["datasets"].get("train", {}).get("prefetch_mode") == "cuda" and not (found and num_gpu):
        raise CompSRTError("datasets.train.prefetch_mode is cuda, and there is no GPU", allowed="cpu or null on a CPU")


def _option_text(source: Path, options: Mapping[str, Any], changed: bool) -> str:
    """Return what BasicSR is to read (and to copy beside its results): the file itself where possible."""
    text = source.read_text(encoding="utf-8")
    if not changed and yaml.safe_load(text) == options:  # our reader takes 1e-4 for a number, PyYAML does not
        return text
    return f"# {source.name} with the changes of the command line\n" + yaml.safe_dump(dict(options), sort_keys=False)


def _run_folders(root: Path, name: str, command: str, args: argparse.Namespace) -> list[Path]:
    """Return the folders that this process makes and tidies: of several processes, the first alone does."""
    if int(os.environ.get(SET_BY_LAUNCHER.get(args.launcher, ""), "0")) > 0:
        return []
    name = f"debug_{name}" if args.debug and not name.startswith("debug") else name
    return [root / folder / name for folder in (FOLDERS[command], *(["tb_logger"] if command == "train" else []))]


@contextmanager
def _text_as_utf8(needed: bool) -> Iterator[None]:
    """Within, text files that BasicSR opens are UTF-8, as option files are; it leaves that to the locale.

    Raises:
        CompSRTError: that is `needed`, and this machine has no such locale.
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
        found = f"the option file has letters beyond ASCII, the locale's text is {locale.getpreferredencoding(False)}"
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
    # BasicSR writes these words beside its results: what was typed is worth more than our temporary file
    argv = [f"{told}  # handed on as:", "-opt", str(options), "--launcher", args.launcher]
    argv += ["--auto_resume"] if args.auto_resume else []
    argv += ["--debug"] if args.debug else []
    argv += ["--local_rank", str(args.local_rank)]
    # BasicSR's SwinIR calls it the old way
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
