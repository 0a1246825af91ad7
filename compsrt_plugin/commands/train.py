"""`basicsr train`: BasicSR's training pipeline on a checked option file."""

from __future__ import annotations

import argparse

from compsrt_plugin.commands.pipeline import add_pipeline_arguments, run_pipeline
from compsrt_plugin.config.files import find_option_file
from compsrt_plugin.config.reader import read_option_file

QUICK_PATCH = 32  # width and height of training patches, in low-resolution pixels

EXAMPLES = """\
examples:
  basicsr train -opt compsrt_x4_3bit.yml
      quantize the bundled full-precision network, on photographs that come with scikit-image
  basicsr train -opt compsrt_x4_3bit.yml --force_yml name=mine \\
      datasets:train:dataroot_gt=datasets/DF2K/HR datasets:val:dataroot_gt=datasets/DF2K/HR
      the same on your own pictures, a tenth of them held out
  basicsr train -opt compsrt_x4_3bit.yml --preset quick
      see the whole method run in about five minutes on two cores; the result is no good measure of it
  basicsr train -opt compsrt_x4_3bit.yml --auto_resume
      go on where an interrupted run stopped

result: ./experiments/NAME/models/NAME.safetensors, which basicsr test reads
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare BasicSR's flags and `--preset`."""
    add_pipeline_arguments(parser)
    parser.add_argument("--preset", choices=["quick"], help="quick: a short schedule, to see everything run")


def run(args: argparse.Namespace) -> int:
    """Check the option file, then run `basicsr.train.train_pipeline` in the current folder.

    Raises:
        CompSRTError: a mistake in the options; nothing was written.
    """
    if args.preset == "quick":
        scale = read_option_file(find_option_file(args.opt, "train")).get("scale", 1)
        args.force_yml = [*quick_schedule(scale), *args.force_yml]  # what the user says comes last, and holds
    return run_pipeline(args, "train")


def quick_schedule(scale: int) -> list[str]:
    """Return what `--preset quick` changes, as entries for `--force_yml`."""
    return [
        "quant:calibration:patches=8",
        f"datasets:train:gt_size={QUICK_PATCH * scale}",
        "datasets:train:batch_size_per_gpu=2",
        "train:total_iter=80",
        "train:scheduler={type: CosineAnnealingRestartLR}",  # one period, of total_iter
        "val:val_freq=40",
        "logger:save_checkpoint_freq=40",
    ]
