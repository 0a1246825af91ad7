"""Keep freed tensor memory in the process instead of returning it to the system.

glibc maps each large block separately and unmaps it when it is freed. The kernel then has to clear the pages of the
next tensor, with a page fault per 4 KiB. This takes up to half of the time of a simulated network.
"""

from __future__ import annotations

import ctypes
import os

# from malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8

LARGEST_IN_HEAP = 2**30  # bytes; larger blocks are still mapped separately
_LARGEST_OF_OLD = 2**25  # the maximum of glibc before 2.35
MOST_KEPT = 2**30  # free bytes at the end of the heap; more are returned to the system
STEP = 2**26  # bytes that the heap grows by


def keep_freed_memory() -> bool:
    """Make this process keep freed memory, up to `MOST_KEPT`, and return whether its allocator supports it.

    Nothing changes if the environment configures glibc's allocator (`MALLOC_…_`, `GLIBC_TUNABLES`). Threads that start
    later share one heap, because heaps of their own are small, so call this before the first thread.
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
