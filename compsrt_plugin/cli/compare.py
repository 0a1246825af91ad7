"""`basicsr compare`: compare networks and results, with statistics and an HTML page."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compsrt_plugin.cli.run_folder import check_writable
from compsrt_plugin.errors import CompSRTError

DESCRIPTION = """\
Compare networks on the same images, by the same metrics. Each argument is an option file of `basicsr test` (a path or
an installed name), a packed file, full-precision weights, or a result folder of `basicsr test`. The first is the
baseline. NAME=PATH names a source.
"""

_VARIABLE = "COMPSRT_DATA"  # `data.roots.VARIABLE`, which is slow to import for --help

EXAMPLES = """\
examples:
  basicsr compare compsrt_x4_2bit.yml compsrt_x4_3bit.yml compsrt_x4_4bit.yml --out compared
      three code widths on the bundled photographs; open compared/index.html in a browser
  basicsr compare old=results/a new=results/b --out compared
      two finished tests: their figures and saved images
  basicsr compare teacher.pth mine.safetensors --data datasets --sets Set5 Set14 --out compared
      full precision and a packed file on benchmarks in datasets/Set5/HR, datasets/Set5/LR_bicubic/X4, …
  basicsr compare compsrt_x4_3bit.yml compsrt_x4_4bit.yml --published --out compared
      with published results of the same scale and code widths, and how their conditions differ

written: FOLDER/index.html, one page that needs no server and no internet, and FOLDER/compare.json, its figures
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    parser.add_argument("sources", nargs="+", metavar="[NAME=]PATH", help="what to compare, the baseline first")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for index.html and compare.json")
    parser.add_argument("--data", metavar="FOLDER", help="common root of Set5/HR and so on; replaces COMPSRT_DATA")
    parser.add_argument(
        "--sets", nargs="+", default=[], metavar="NAME", help="use only these data sets (all that are found)"
    )
    parser.add_argument("--published", action="store_true", help="also show published results")


def run(args: argparse.Namespace) -> int:
    """Score the networks, compare them, write the page, and print the tables.

    Raises:
        CompSRTError: a source is missing or cannot be compared, or the folder cannot be written.
    """
    out = Path(args.out).expanduser()
    check_writable(out)
    if args.data is not None and not Path(args.data).expanduser().is_dir():
        raise CompSRTError(f"--data {args.data} is not a folder", hint="check the path")

    from compsrt_plugin.compare.comparison_table import comparison_text
    from compsrt_plugin.compare.differences import compare_to_baseline
    from compsrt_plugin.compare.document import comparison_to_dict
    from compsrt_plugin.compare.gather import gather_contestants
    from compsrt_plugin.compare.page import page
    from compsrt_plugin.compare.published import published_for
    from compsrt_plugin.compare.sources import find_sources
    from compsrt_plugin.compare.visuals import sights
    from compsrt_plugin.files import write_whole

    sources = find_sources(args.sources)
    with _data_root(args.data), tempfile.TemporaryDirectory(prefix="basicsr_") as folder:
        gathered = gather_contestants(sources, args.sets, Path(folder))
        comparisons = compare_to_baseline(gathered.entries, gathered.keys)
        bits = {entry.results.bits for entry in gathered.entries}
        rows = published_for(gathered.settings.scale, bits) if args.published else None
        found = comparison_to_dict(gathered, comparisons, rows)
        content = page(found, sights(gathered)).encode(errors="xmlcharrefreplace")
    write_whole(out / "compare.json", (json.dumps(found, indent=2) + "\n").encode())
    write_whole(out / "index.html", content)
    sys.stdout.write(f"{comparison_text(gathered, comparisons)}\n\n{out / 'index.html'}: {len(content):,} bytes\n")
    return 0


@contextmanager
def _data_root(folder: str | None) -> Iterator[None]:
    """Look for benchmarks in `folder` within the context. None leaves it to the environment."""
    before = os.environ.get(_VARIABLE)
    if folder is not None:
        os.environ[_VARIABLE] = folder
    try:
        yield
    finally:
        if before is not None:
            os.environ[_VARIABLE] = before
        elif folder is not None:
            del os.environ[_VARIABLE]
