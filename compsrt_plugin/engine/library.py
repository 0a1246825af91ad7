"""The compiled part: found, loaded and asked which instructions it can use here."""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache

from compsrt_plugin.engine import structures
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.source_folder import compiled, how_to_build

COST = "the simulated network runs instead, ten times as long"
LEVEL_VARIABLE = "COMPSRT_ENGINE_LEVEL"
"""Environment variable: use no higher level of instructions than this one of `LEVELS`."""
LEVELS = ("avx512", "avx2", "plain")
STAGES = ("transform", "quantize", "products", "scores", "softmax", "map_products", "norm", "gelu", "conv", "copies")
"""In the order of `enum Stage` in `network.h`."""


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Return the loaded library, or None where it was not built or is of another version."""
    path = compiled("engine", "_engine")
    if path is None:
        return None
    try:
        loaded = ctypes.CDLL(str(path))
        _declare(loaded)
    except (OSError, AttributeError):
        return None
    sizes = (ctypes.c_int32 * len(structures.IN_ORDER))()
    loaded.compsrt_sizes(sizes)
    return loaded if list(sizes) == [ctypes.sizeof(kind) for kind in structures.IN_ORDER] else None


def _declare(loaded: ctypes.CDLL) -> None:
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("level", ctypes.c_char_p, [ctypes.c_char_p]),
        ("sizes", None, [ctypes.POINTER(ctypes.c_int32)]),
        ("create", pointer, [pointer, ctypes.c_char_p, number]),
        ("threads", number, [pointer]),
        ("run", number, [pointer, pointer, pointer, number, number]),
        ("profile", None, [pointer, number]),
        ("times", None, [pointer, ctypes.POINTER(ctypes.c_double)]),
        ("destroy", None, [pointer]),
    ):
        function = getattr(loaded, f"compsrt_{name}")
        function.restype, function.argtypes = result, arguments


def level() -> str:
    """Return the level of instructions to use: the best there is, or what `COMPSRT_ENGINE_LEVEL` says.

    Raises:
        CompSRTError: the extension is missing, or the level named does not exist or cannot run here.
    """
    loaded = library()
    if loaded is None:
        raise CompSRTError(missing(), hint=how_to_build())
    wanted = os.environ.get(LEVEL_VARIABLE, "")
    if wanted and wanted not in LEVELS:
        raise unknown_name(f"level in {LEVEL_VARIABLE}:", wanted, LEVELS)
    found = loaded.compsrt_level(wanted.encode())
    if found is None:
        able = [name for name in LEVELS if loaded.compsrt_level(name.encode())]
        raise CompSRTError(f"{LEVEL_VARIABLE} is {wanted}, which this processor cannot run", allowed=", ".join(able))
    return found.decode()


def missing() -> str:
    """Return what is said where the extension cannot be used."""
    return "the engine's compiled extension is missing (built without a C++ compiler, or by another version)"
