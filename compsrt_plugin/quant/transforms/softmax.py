"""`hadamard_softmax`: the Hadamard transform of rows that sum to 1, without its first coefficient.

The first coefficient of such a row is exactly 1 / sqrt(m). It carries no information, and it alone would widen the
range that the codes must cover. The inverse adds it back as 1 / m.
"""

from __future__ import annotations

from compsrt_plugin.quant.transforms.hadamard import normalized, padded_width
from compsrt_plugin.quant.transforms.registry import Transform, register_transform

register_transform(
    Transform(
        "hadamard_softmax",
        lambda width: normalized(padded_width(width))[:width, 1:],
        lambda width: padded_width(width) - 1,
        offset=lambda width: 1 / padded_width(width),
        unit_rows=True,
        compiled=2,
    )
)
