"""`basicsr test`: BasicSR's test pipeline on a checked option file."""

from __future__ import annotations

import argparse

from compsrt_plugin.cli.pipeline import add_pipeline_arguments, run_pipeline

EXAMPLES = """\
examples:
  basicsr test -opt compsrt_x4_3bit.yml
      the bundled 3-bit network on the bundled photographs, and on every benchmark that is found
  COMPSRT_DATA=datasets basicsr test -opt compsrt_x4_3bit.yml --strict-data
      the same with datasets/Set5/HR, datasets/Set5/LR_bicubic/X4, …; a missing one is an error
  basicsr test -opt compsrt_x4_3bit.yml --force_yml path:pretrain_network_g=FILE val:save_img=false
      another network, without pictures
  basicsr test -opt compsrt_x4_3bit.yml --engine
      the network in integers beside the simulated one: both figures in the table

results: ./results/NAME (NAME is the option file's `name`; an earlier folder is kept, renamed)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare BasicSR's flags, `--strict-data` and `--engine`."""
    add_pipeline_arguments(parser, debug="write to results/debug_NAME, beside the results of NAME")
    parser.add_argument(
        "--strict-data", action="store_true", help="a data set that is not found is an error, not a warning"
    )
    parser.add_argument(
        "--engine", action="store_true", help="judge the compiled engine too, beside the simulated network"
    )


def run(args: argparse.Namespace) -> int:
    """Check the option file, then run `basicsr.test.test_pipeline` in the current folder.

    Raises:
        CompSRTError: a mistake in the options; nothing was written.
    """
    return run_pipeline(args, "test")
