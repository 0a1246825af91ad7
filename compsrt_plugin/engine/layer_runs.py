"""`LayerRun`: how the engine runs a layer, and why not in integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

INTEGERS, FLOATS, PYTORCH = "integers", "compiled floats", "PyTorch"
KEPT = "not quantized"
NO_SUM = "its sums are not proved to fit, or its operands lie in different domains"


@dataclass(frozen=True)
class LayerRun:
    """How a layer runs.

    Attributes:
        layer: name of the module.
        runs: `integers`, `compiled floats` or `PyTorch`.
        why: why it does not run in integers; empty if it does.
    """

    layer: str
    runs: str
    why: str = ""


def layers_text(layers: Sequence[LayerRun]) -> str:
    """Return a table, one layer a line, and a line that counts them."""
    heads = ("layer", "runs in", "why")
    rows = [heads, *((layer.layer, layer.runs, layer.why) for layer in layers)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = ["  ".join((row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2])).rstrip() for row in rows]
    counts = {runs: sum(layer.runs == runs for layer in layers) for runs in (INTEGERS, FLOATS, PYTORCH)}
    return "\n".join([*lines, "", "layers: " + ", ".join(f"{count} in {runs}" for runs, count in counts.items())])


def layers_to_list(layers: Sequence[LayerRun]) -> list[dict[str, Any]]:
    """Return the table as plain values."""
    return [asdict(layer) for layer in layers]
