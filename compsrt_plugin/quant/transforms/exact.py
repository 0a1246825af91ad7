"""`hadamard_exact`: x D H_d / sqrt(d) with a Hadamard matrix of the width's own order, so without padding.

Where `orders` has no construction for the width, the transform equals `hadamard_signed`.
"""

from __future__ import annotations

import logging
from functools import cache

from torch import Tensor

from compsrt_plugin.quant.transforms.hadamard import normalized, padded_width
from compsrt_plugin.quant.transforms.orders import construction
from compsrt_plugin.quant.transforms.registry import Transform, register_transform
from compsrt_plugin.quant.transforms.signed import with_signs


def _order(width: int) -> int:
    return width if construction(width) is not None else padded_width(width)


def _build(width: int) -> Tensor:
    order = _order(width)
    if order != width:
        log_padding(width, order)
    return with_signs(normalized(order)[:width])


@cache
def log_padding(width: int, order: int) -> None:
    """Log once for each width that it is padded."""
    logging.getLogger("basicsr").info(
        f"hadamard_exact: no Hadamard matrix of order {width} is available, padded to {order} instead"
    )


register_transform(Transform("hadamard_exact", _build, _order))
