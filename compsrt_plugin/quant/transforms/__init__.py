"""Transforms: one file and one `Transform` object for each name; the order here is the order of `TRANSFORMS`.

To add one, write its file and import it here, or call `register_transform` from code of your own.
"""

# isort: off
from compsrt_plugin.quant.transforms.registry import TRANSFORMS, Transform, register_transform
from compsrt_plugin.quant.transforms import hadamard, softmax, signed, exact, block
# isort: on

__all__ = ["TRANSFORMS", "Transform", "block", "exact", "hadamard", "register_transform", "signed", "softmax"]
