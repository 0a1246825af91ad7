"""Write activations by the effect of their quantization, and the overrides that give the worst ones more bits."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from compsrt_plugin.analysis.sensitivity.activations import Activation, Sensitivity
from compsrt_plugin.report.columns import align

MORE_BITS = 6  # as good as 8 on CRAFT (docs/notes/sensitivity.md), and the engine still multiplies 6 by 4 bits
_METHODS = {
    True: "measured   each activation quantized alone",
    False: "estimated  from gradients, for all activations at once (--exact measures each)",
}
_BAR = 24  # length of the longest bar in characters


def sensitivity_text(found: Sensitivity, count: int) -> str:
    """Return the table and the `overrides` for the listed activations, without a final newline.

    Args:
        found: the effects of all activations.
        count: number of activations to list.
    """
    listed, rest = found.activations[:count], len(found.activations) - count
    total = found.total or 1.0
    rows: list[tuple[str, ...]] = [("activation", "bits", "share of error", "added up")]
    added = 0.0
    for one in listed:
        added += one.error / total
        rows.append((one.name, str(one.bits), f"{one.error / total:.1%}", f"{added:.1%}"))
    if rest > 0:
        rows.append((f"{rest} more", "", f"{1 - added:.1%}", "100.0%"))
    per_character = (listed[0].error or 1.0) / _BAR
    bars = [*("█" * round(one.error / per_character) for one in listed), ""]  # no bar for the line of the rest
    heading, *lines = align(rows)
    lines = [f"{line}  {bar}".rstrip() for line, bar in zip(lines, bars)]
    rule = "-" * len(heading)
    return "\n".join(
        [
            heading, rule, *lines, rule,
            f"{_METHODS[found.exact]}, weights as they are,",
            f"           on {found.images}",
            f"output     {psnr_text(found.total)} from its own without quantized activations "
            "by the sum of these errors,",
            f"           {psnr_text(found.together)} with all at once",
            *_more_bits(listed, added),
        ]
    )  # fmt: skip


def sensitivity_to_dict(found: Sensitivity) -> dict[str, Any]:
    """Return every activation by falling error, as plain values for JSON."""
    total = found.total or 1.0
    return {
        "pictures": found.images,
        "exact": found.exact,
        "error_together": found.together,
        "activations": [
            {"name": one.name, "bits": one.bits, "error": one.error, "share": one.error / total}
            for one in found.activations
        ],
    }


def psnr_text(error: float) -> str:
    """Return a mean squared error of values in 0..1 as PSNR text.

    >>> psnr_text(1e-4), psnr_text(0.0)
    ('40.0 dB', 'inf dB')
    """
    return f"{-10 * math.log10(error) if error else math.inf:.1f} dB"


def _more_bits(listed: Sequence[Activation], share: float) -> list[str]:
    names = [one.name for one in listed if one.bits < MORE_BITS]
    if not names:
        return []
    entries = ", ".join(f"{json.dumps(name)}: {{bits: {MORE_BITS}}}" for name in names)
    return [
        f"to change  quantize again with this in the option file or behind --force_yml: {MORE_BITS} bits there cost no",
        f"           byte, and most of the {share:.0%} goes",
        f"'quant:overrides={{{entries}}}'",
    ]
