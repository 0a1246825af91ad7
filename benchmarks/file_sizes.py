"""Write the tables of file sizes of the bundled x4 networks: docs/onnx.md, and by part docs/notes/packed_file.md.

python benchmarks/file_sizes.py          # needs the extra `onnx`
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compsrt_plugin.cli.main import main as basicsr
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.onnx import export_onnx
from compsrt_plugin.packed.bundled import checkpoint_path
from compsrt_plugin.packed.open import open_packed

DOCS = Path(__file__).resolve().parents[1] / "docs"
ONNX, PARTS = DOCS / "onnx.md", DOCS / "notes" / "packed_file.md"
ONNX_KINDS = ("weights", "exact", "float")
ONNX_HEADING = f"| | packed file | {' | '.join(ONNX_KINDS)} |\n|---|---:|---:|---:|---:|\n"
PARTS_HEADING = "| bytes of | 2 bits | 3 bits | 4 bits |\n|---|---:|---:|---:|\n"
SCALE, BITS = 4, (2, 3, 4)


def onnx_row(bits: int) -> str:
    """Return a line of the ONNX table: bytes of the bundled file, and of each kind that `basicsr export` writes."""
    source = open_packed(checkpoint_path(SCALE, bits))
    with tempfile.TemporaryDirectory() as folder:
        sizes = [export_onnx(Path(folder, "net.onnx"), source, kind)[0] for kind in ONNX_KINDS]
    return f"| {bits} bits | {source.path.stat().st_size:,} | {' | '.join(f'{size:,}' for size in sizes)} |\n"


def parts(bits: int) -> dict[str, int]:
    """Return the bytes of each part of a bundled file, as `basicsr report` counts them.

    Raises:
        CompSRTError: the parts do not add up to the file.
    """
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        basicsr(["report", str(checkpoint_path(SCALE, bits)), "--json"])
    report: Mapping[str, Any] = json.loads(out.getvalue())
    kinds = {"linear layers": "linear", "convolutions": "convolution"}
    found = {name: report["kinds"][kind]["bytes"] for name, kind in kinds.items()} | report["others"]
    total = report["totals"]["bytes"]
    if abs(sum(found.values()) - total) > 1:
        raise CompSRTError(f"the parts of the {bits}-bit file have {sum(found.values()):,} bytes, the file {total:,}")
    return {**found, "the whole file": total}


def part_rows(found: Mapping[int, Mapping[str, int]]) -> str:
    """Return the lines of the table of parts.

    Args:
        found: bits -> part -> bytes.
    """
    names = next(iter(found.values()))
    return "".join(f"| {name} | " + " | ".join(f"{of[name]:,.0f}" for of in found.values()) + " |\n" for name in names)


def replace(page: Path, heading: str, rows: str) -> None:
    """Replace the table with that heading in a page.

    Raises:
        CompSRTError: the page does not have exactly one such table.
    """
    changed, count = re.subn(re.escape(heading) + r"(?:\|.*\|\n)*", heading + rows, page.read_text(encoding="utf-8"))
    if count != 1:
        raise CompSRTError(f"{page.name} has {count} tables with the heading {heading.splitlines()[0]}", allowed="one")
    write_whole(page, changed.encode())


def main() -> int:
    """Replace both tables."""
    replace(ONNX, ONNX_HEADING, "".join(onnx_row(bits) for bits in BITS))
    replace(PARTS, PARTS_HEADING, part_rows({bits: parts(bits) for bits in BITS}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
