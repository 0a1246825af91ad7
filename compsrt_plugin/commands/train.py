"""`basicsr train`: BasicSR's training pipeline on a checked option file."""

from __future__ import annotations

import argparse

from compsrt_plugin.commands.pipeline import add_pipeline_arguments, run_pipeline

EXAMPLES = """\
examples:
  basicsr train -opt compsrt_x4_3bit.yml
      quantize the bundled full-precision network, on photographs that come with scikit-image
  basicsr train -opt compsrt_x4_3bit.yml --force_yml name=mine \\
      datasets:train:dataroot_gt=datasets/DF2K/HR datasets:val:dataroot_gt=datasets/DF2K/HR
      the same on your own pictures, a tenth of them held out
  basicsr train -opt compsrt_x4_3bit.yml --auto_resume
      go on where an interrupted run stopped

result: ./experiments/NAME/models/NAME.safetensors, which basicsr test reads
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare BasicSR's flags."""
    add_pipeline_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Check the option file, then run `basicsr.train.train_pipeline` in the current folder.

    Raises:
        CompSRTError: a mistake in the options; nothing was written.
    """
    return run_pipeline(args, "train")
