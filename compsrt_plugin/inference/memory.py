"""Choose the tiles of an image by the memory that is free."""

from __future__ import annotations

import logging
import math
import os
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from compsrt_plugin.devices import example
from compsrt_plugin.inference.grid import OVERLAP, Tile, shared_pixels

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LEAST_PER_PIXEL = 16 * KIB  # memory of the process for simulated SwinIR-light; its tensors take 10 KiB
MOST_PER_PIXEL = 128 * KIB  # an image that fits at this rate runs whole, without a measurement
PROBE = 64  # low-resolution pixels, height and width
SHARE = 0.5  # share of the free memory for a forward pass; allocators waste some, and other programs need some
LARGEST, SMALLEST = 512, 64  # sizes of chosen tiles: larger ones gain nothing, smaller ones are mostly overlap


def choose_tile(
    network: Callable[[Tensor], Tensor], size: Sequence[int], *, scale: int, window: int, device: torch.device
) -> Tile:
    """Return a tile that holds the whole image if memory allows, else the largest tile whose forward pass fits.

    The memory of a forward pass is measured on a small input, unless the image certainly fits. A choice of smaller
    tiles is logged.

    Args:
        network: see `super_resolve`.
        size: height and width of the low-resolution image.
        scale: factor by which the network enlarges.
        window: input height and width must be multiples of this.
        device: the device that the network runs on.
    """
    allowed = SHARE * free_memory(device)
    pixels, whole = size[0] * size[1], Tile(max(size) + window, 0)
    if pixels * MOST_PER_PIXEL <= allowed:
        return whole
    rate = max(LEAST_PER_PIXEL, bytes_per_pixel(network, scale=scale, window=window, device=device))
    if pixels * rate <= allowed:
        return whole
    side = min(LARGEST, math.isqrt(int(allowed / rate))) // window * window
    least = max(-(-SMALLEST // window) * window, window)
    overlap = OVERLAP if side >= 4 * OVERLAP else OVERLAP // 4
    tile = Tile(max(side, least, shared_pixels(overlap, window) + window), overlap)
    _log_once(
        f"{size[1]}×{size[0]} pixels would take {pixels * rate / GIB:.1f} GiB, {allowed / SHARE / GIB:.1f} GiB are "
        f"free: run in tiles of {tile.size} pixels, overlap {tile.overlap}; tile: in the option file sets it"
    )
    return tile


@lru_cache(maxsize=128)
def _log_once(line: str) -> None:
    logging.getLogger("basicsr").info(line)


def bytes_per_pixel(
    network: Callable[[Tensor], Tensor], *, scale: int, window: int, device: torch.device, channels: int = 3
) -> float:
    """Return the peak bytes of a forward pass per low-resolution pixel, measured on a small input.

    Only torch tensors are counted, not the scratch memory of kernels or of an engine outside torch.
    """
    side = -(-PROBE // window) * window
    found = example(network)
    dtype = torch.float32 if found is None else found.dtype
    with torch.no_grad(), _LiveBytes() as live:
        network(torch.zeros(1, channels, side, side, dtype=dtype, device=device))
    return live.most / side**2


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of live tensors made while it is active; `most` is their largest sum."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def free_memory(device: torch.device) -> int:
    """Return the bytes that can still be allocated on `device`, as far as the system reports them."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return min([free for free in (_free_on_machine(), _free_in_group()) if free is not None], default=4 * GIB)


def _free_on_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * KIB
        return None
    except OSError:  # not Linux
        if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
            return None
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _free_in_group() -> int | None:
    """Return the free bytes of the control group (a container, a batch job), or None if it sets no limit."""
    for root, limit, usage in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            most, used = (Path(root, name).read_text().strip() for name in (limit, usage))
        except OSError:
            continue
        return None if most == "max" else max(0, int(most) - int(used))
    return None
