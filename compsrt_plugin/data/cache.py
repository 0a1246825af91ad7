"""HR/LR pairs made once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from compsrt_plugin import threads
from compsrt_plugin.data.images import images_in
from compsrt_plugin.data.low_resolution import _RECIPE, OutputLayout, make_low_resolution
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import cache_root, folder_bytes


def cached_lr(hr_dir: str | os.PathLike[str], scale: int) -> tuple[Path, Path]:
    """Make LR images of a folder of HR images, once, and beside them the HR images: links, or PNGs if cropped.

    The folder itself is only read. Its path and its images' names, sizes and times name the cached copy, so
    a changed folder is prepared anew.

    Args:
        hr_dir: folder of HR images; other files in it do not matter.
        scale: shrinking factor.

    Returns:
        (HR folder, LR folder) in the cache; NAME.png and NAMEx{scale}.png, every HR side scale × the LR side.

    Raises:
        CompSRTError: no images there, or one that cannot be used (the first is named).
        UnwritableError: disk full.
    """
    folder = Path(hr_dir).expanduser().absolute()
    return cached_pairs(folder.name, images_in(folder), scale)


def cached_pairs(label: str, sources: Sequence[Path], scale: int, *, max_side: int | None = None) -> tuple[Path, Path]:
    """Make HR/LR pairs of some images in the cache, once; as `cached_lr`.

    Safe in several processes at once: every file is written whole, equal sources give equal files, and a
    process goes on only when all are there. What is missing or cut short is made again.

    Args:
        label: begins the name of the cached folder.
        sources: HR images.
        scale: shrinking factor.
        max_side: larger images are cut to their centre, in HR pixels.
    """
    digest = hashlib.sha256(f"{_RECIPE}/{max_side}".encode())
    for source in sources:
        stat = source.stat()
        digest.update(f"\n{source}/{stat.st_size}/{stat.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    folder = cache_root() / "pairs" / f"{label}-{digest.hexdigest()[:16]}" / f"X{scale}"
    layout = OutputLayout(folder, (scale,), hr_copy=True, max_side=max_side, link=True)
    # Threads, not processes: decoding, encoding and resizing leave Python's lock alone, and a data set may be
    # built where a new process cannot start (a train.py without a main guard).
    with threads.executor(4) as executor:
        summary = make_low_resolution(sources, layout, executor=executor, title=f"{label}: pairs for x{scale}")
    if summary.errors:
        others = f" (and {len(summary.errors) - 1} more images failed)" if len(summary.errors) > 1 else ""
        raise CompSRTError(f"{summary.errors[0]}{others}")
    if summary.made:
        size = folder_bytes(folder)
        logging.getLogger("basicsr").info(
            "%s: low-resolution images for x%d were made, once; %.1f MB in %s, which may be deleted at any time",
            label, scale, size / 1e6, folder,
        )  # fmt: skip
    return layout.hr_dir, layout.lr_dir(scale)
