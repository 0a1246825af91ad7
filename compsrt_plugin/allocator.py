"""Keep the memory that tensors give back, instead of returning it to the system and asking for it again.

glibc maps each large block on its own and unmaps it when it is freed. The next tensor then gets pages that the kernel
has to clear first, one page fault for every 4 KiB: up to half of the time of a simulated network.
"""

from __future__ import annotations

import ctypes
import os

# of malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8

LARGEST_IN_HEAP = 2**30  # bytes of a block; a larger one is mapped on its own still
_LARGEST_OF_OLD = 2**25  # the most that glibc before 2.35 takes
MOST_KEPT = 2**30  # free bytes at the heap's end, beyond which they are returned
STEP = 2**26  # bytes that the heap grows by


def keep_freed_memory() -> bool:
    """Let this process keep freed memory, up to `MOST_KEPT`, and say whether its allocator can.

    Nothing is changed where the environment sets up glibc's allocator (`MALLOC_…_`, `GLIBC_TUNABLES`). Threads that
    start later share one heap, since those of their own are small: call it before the first.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  musl has a mallopt that does nothing
        mallopt = libc.mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; TypeError: Windows
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    if not mallopt(_MMAP_THRESHOLD, LARGEST_IN_HEAP):
        mallopt(_MMAP_THRESHOLD, _LARGEST_OF_OLD)
    return all([mallopt(_TRIM_THRESHOLD, MOST_KEPT), mallopt(_TOP_PAD, STEP), mallopt(_ARENA_MAX, 1)])
