"""The compiled C++ library in `csrc/`: kernels of calibration, and the engine.

setup.py builds it where there is a compiler. Without it everything runs in torch, with the same results to rounding.
It does not use torch's ABI: pointers go through ctypes.

    loading      finds, loads and checks it
    levels       the sets of instructions that it can use on this processor
    structures   what C++ and Python both read, field by field
    kernels      fake quantization of rows, forward and backward
    scan         the selective scan, forward and backward
"""

from compsrt_plugin.native.kernels import fake_quantize, fake_quantize_backward, usable
from compsrt_plugin.native.levels import LEVEL_VARIABLE, Level, level, levels
from compsrt_plugin.native.loading import COST, is_built, library, missing

__all__ = [
    "COST",
    "LEVEL_VARIABLE",
    "Level",
    "fake_quantize",
    "fake_quantize_backward",
    "is_built",
    "level",
    "levels",
    "library",
    "missing",
    "usable",
]
