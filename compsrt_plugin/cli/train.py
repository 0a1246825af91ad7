"""`basicsr train`: run BasicSR's training pipeline with a checked option file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from compsrt_plugin.cli.pipeline import add_pipeline_arguments, run_pipeline

DEBUG_ITERATIONS, DEBUG_PATCHES = 16, 2
QUICK_PATCH = 32  # width and height of training patches, in low-resolution pixels

EXAMPLES = """\
examples:
  basicsr train -opt compsrt_x4_3bit.yml
      quantize the bundled full-precision network on photographs that come with scikit-image
  basicsr train -opt compsrt_x4_3bit.yml --force_yml name=mine \\
      datasets:train:dataroot_gt=datasets/DF2K/HR datasets:val:dataroot_gt=datasets/DF2K/HR
      the same on your own images, with a tenth of them held out
  basicsr train -opt compsrt_x4_3bit.yml --preset quick
      run the whole method in about five minutes on two cores; its result does not show what the method achieves
  basicsr train -opt compsrt_x4_3bit.yml --auto_resume
      resume an interrupted run

result: ./experiments/NAME/models/NAME.safetensors, which basicsr test reads
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare BasicSR's flags and `--preset`."""
    add_pipeline_arguments(parser, debug=f"a run of {DEBUG_ITERATIONS} iterations, named debug_NAME")
    parser.add_argument("--preset", choices=["quick"], help="quick: a short schedule that runs every step")


def run(args: argparse.Namespace) -> int:
    """Check the option file, then run `basicsr.train.train_pipeline` in the current folder.

    Raises:
        CompSRTError: an error in the options; nothing was written.
    """
    presets = [quick_schedule] if args.preset == "quick" else []
    return run_pipeline(args, "train", [*presets, debug_schedule] if args.debug else presets)


def debug_schedule(options: Mapping[str, Any]) -> list[str]:
    """Return the changes of `--debug` as entries for `--force_yml`. BasicSR then validates every 8 iterations."""
    patches = [f"quant:calibration:patches={DEBUG_PATCHES}"] if "quant" in options else []
    return [*patches, f"train:total_iter={DEBUG_ITERATIONS}"]


def quick_schedule(options: Mapping[str, Any]) -> list[str]:
    """Return the changes of `--preset quick` as entries for `--force_yml`."""
    scale = options.get("scale")
    return [
        "quant:calibration:patches=8",
        f"datasets:train:gt_size={QUICK_PATCH * (scale if isinstance(scale, int) else 1)}",
        "datasets:train:batch_size_per_gpu=2",
        "train:total_iter=80",
        "train:scheduler={type: CosineAnnealingRestartLR}",  # one period of total_iter
        "val:val_freq=40",
        "logger:save_checkpoint_freq=40",
    ]
