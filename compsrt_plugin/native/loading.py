"""Find, load and check the compiled library."""

from __future__ import annotations

import ctypes
import logging
from functools import lru_cache

import torch

from compsrt_plugin.native import structures
from compsrt_plugin.source_folder import compiled, how_to_build

COST = "calibration takes 1.6 times as long, and packed networks run simulated, ten times as long"
DONE, NO_MEMORY = 0, 1
"""What functions return: `enum Status` in `csrc/bindings/guard.h`."""

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int
_FUNCTIONS = {
    "levels": (_INT, [_POINTER]),
    "layout": (ctypes.c_char_p, []),
    "fake_quantize": (_INT, [_INT, _POINTER, _POINTER, _POINTER]),
    "fake_quantize_backward": (_INT, [_INT, *[_POINTER] * 4]),
    "selective_scan": (_INT, [_INT, _POINTER, _POINTER]),
    "selective_scan_backward": (_INT, [_INT, *[_POINTER] * 3]),
    "engine_create": (_INT, [_INT, _POINTER, _INT, _POINTER]),
    "engine_threads": (_INT, [_POINTER]),
    "engine_run": (_INT, [_POINTER, _POINTER, _POINTER, _INT, _INT]),
    "engine_profile": (_INT, [_POINTER, _INT]),
    "engine_times": (_INT, [_POINTER, _POINTER]),
    "engine_destroy": (_INT, [_POINTER]),
    "operators_create": (_INT, [_INT, _INT, _POINTER]),
    "operators_attention": (_INT, [_POINTER] * 3),
    "operators_rows": (_INT, [_POINTER] * 2),
    "operators_moments": (_INT, [_POINTER] * 2),
    "operators_reduction": (_INT, [_POINTER] * 2),
    "operators_gram": (_INT, [_POINTER] * 2),
    "operators_mix": (_INT, [_POINTER] * 2),
    "operators_depthwise": (_INT, [_POINTER] * 2),
    "operators_convolution": (_INT, [_POINTER] * 2),
    "operators_elementwise": (_INT, [_POINTER] * 2),
    "operators_destroy": (_INT, [_POINTER]),
}
"""Name without `compsrt_` -> (result, arguments)."""


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Return the loaded library; None where it was not built, does not load or is of another version."""
    path = compiled("native", "_native")
    if path is None:
        return None
    try:
        loaded = ctypes.CDLL(str(path))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(loaded, f"compsrt_{name}")
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):  # built for another machine, or from other sources
        return None
    found = loaded.compsrt_layout()
    return loaded if found is not None and found.decode() == structures.layout() else None


def missing() -> str:
    """Return the message shown where the library cannot be used."""
    return "the compiled library is missing (built without a C++ compiler, or from another version)"


@torch.compiler.assume_constant_result
def is_built() -> bool:
    """Return whether there is a library; warn once a process if not."""
    return _warned_or_built()


@lru_cache(maxsize=1)
def _warned_or_built() -> bool:
    if library() is not None:
        return True
    logging.getLogger(__name__).warning("%s: %s; %s", missing(), COST, how_to_build())
    return False
