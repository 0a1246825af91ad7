"""Write the table of sizes into docs/onnx.md: the bundled x4 networks, packed and as ONNX.

python benchmarks/onnx_sizes.py          # needs the extra `onnx`
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from compsrt_plugin.bundled import checkpoint_path
from compsrt_plugin.onnx import export_onnx
from compsrt_plugin.packed_network import open_packed

PAGE = Path(__file__).resolve().parents[1] / "docs" / "onnx.md"
HEADING = "| | packed file | ONNX |\n|---|---:|---:|\n"
SCALE, BITS = 4, (2, 3, 4)


def row(bits: int) -> str:
    """Return a line of the table: bytes of the bundled file, and of what `basicsr export --onnx` makes of it."""
    source = open_packed(checkpoint_path(SCALE, bits))
    with tempfile.TemporaryDirectory() as folder:
        size, _ = export_onnx(Path(folder, "net.onnx"), source.network, source.header)
    return f"| {bits} bits | {source.path.stat().st_size:,} | {size:,} |\n"


def main() -> int:
    """Replace the table in the page."""
    text = PAGE.read_text(encoding="utf-8")
    table = HEADING + "".join(row(bits) for bits in BITS)
    changed, count = re.subn(re.escape(HEADING) + r"(?:\|.*\|\n)+", table, text)
    assert count == 1, f"{PAGE} has {count} tables of sizes"
    PAGE.write_text(changed, encoding="utf-8")
    sys.stdout.write(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
