"""Transforms: one file and one `Transform` object for each name; the order here is the order of `TRANSFORMS`.

To add one, write its file and import it here, or call `register_transform` from code of your own.
"""

# isort: off
from compsrt_plugin.quant.transforms.registry import NONE, TRANSFORMS, Transform, register_transform
from compsrt_plugin.quant.transforms.hadamard import HADAMARD
from compsrt_plugin.quant.transforms.softmax import HADAMARD_SOFTMAX
from compsrt_plugin.quant.transforms.signed import HADAMARD_SIGNED
from compsrt_plugin.quant.transforms.exact import HADAMARD_EXACT
from compsrt_plugin.quant.transforms.block import HADAMARD_BLOCK
# isort: on

__all__ = [
    "HADAMARD",
    "HADAMARD_BLOCK",
    "HADAMARD_EXACT",
    "HADAMARD_SIGNED",
    "HADAMARD_SOFTMAX",
    "NONE",
    "TRANSFORMS",
    "Transform",
    "register_transform",
]
