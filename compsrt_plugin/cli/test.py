"""`basicsr test`: run BasicSR's test pipeline with a checked option file."""

from __future__ import annotations

import argparse

from compsrt_plugin.cli.pipeline import add_pipeline_arguments, run_pipeline

EXAMPLES = """\
examples:
  basicsr test -opt compsrt_x4_3bit.yml
      the bundled 3-bit network on the bundled photographs and on every benchmark that is found
  COMPSRT_DATA=datasets basicsr test -opt compsrt_x4_3bit.yml --strict-data
      the same with datasets/Set5/HR, datasets/Set5/LR_bicubic/X4, …; a missing data set is an error
  basicsr test -opt compsrt_x4_3bit.yml --force_yml path:pretrain_network_g=FILE val:save_img=false
      another network, without saving images
  basicsr test -opt compsrt_x4_3bit.yml --engine
      also the integer engine: the table shows both results

results: ./results/NAME (NAME is the option file's `name`; an earlier folder is renamed and kept)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare BasicSR's flags, `--strict-data` and `--engine`."""
    add_pipeline_arguments(parser, debug="write to results/debug_NAME, next to the results of NAME")
    parser.add_argument(
        "--strict-data", action="store_true", help="treat a missing data set as an error, not a warning"
    )
    parser.add_argument("--engine", action="store_true", help="also score the integer engine")


def run(args: argparse.Namespace) -> int:
    """Check the option file, then run `basicsr.test.test_pipeline` in the current folder.

    Raises:
        CompSRTError: an error in the options; nothing was written.
    """
    return run_pipeline(args, "test")
