"""Make HR/LR pairs once and keep them in the user's cache folder."""

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
    """Return cached LR images of a folder of HR images, with the HR images as links, or as PNGs if cropped.

    The pairs are made once. The source folder is only read. Its path and the names, sizes and times of its images form
    the name of the cached copy, so a changed folder is prepared again.

    Args:
        hr_dir: folder of HR images. Other files in it are ignored.
        scale: shrinking factor.

    Returns:
        (HR folder, LR folder) in the cache, with NAME.png and NAMEx{scale}.png. Every HR side is scale × the LR side.

    Raises:
        CompSRTError: there are no images, or one cannot be used (the first is named).
        UnwritableError: the disk is full.
    """
    folder = Path(hr_dir).expanduser().absolute()
    return cached_pairs(folder.name, images_in(folder), scale)


def cached_pairs(label: str, sources: Sequence[Path], scale: int, *, max_side: int | None = None) -> tuple[Path, Path]:
    """Return cached HR/LR pairs of some images, made once. See `cached_lr`.

    This is safe in several processes at once: files are written atomically, equal sources give equal files, and a
    process continues only when all files exist. Missing or truncated files are made again.

    Args:
        label: prefix of the name of the cached folder.
        sources: HR images.
        scale: shrinking factor.
        max_side: largest side in HR pixels. Larger images are cut to their centre.
    """
    digest = hashlib.sha256(f"{_RECIPE}/{max_side}".encode())
    for source in sources:
        stat = source.stat()
        digest.update(f"\n{source}/{stat.st_size}/{stat.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    folder = cache_root() / "pairs" / f"{label}-{digest.hexdigest()[:16]}" / f"X{scale}"
    layout = OutputLayout(folder, (scale,), hr_copy=True, max_side=max_side, link=True)
    # Threads, not processes: decoding, encoding and resizing release the GIL, and a data set may be
    # built where a new process cannot start (a train.py without a main guard).
    with threads.executor(4) as executor:
        summary = make_low_resolution(sources, layout, executor=executor, title=f"{label}: pairs for x{scale}")
    if summary.errors:
        others = f" (and {len(summary.errors) - 1} more images failed)" if len(summary.errors) > 1 else ""
        raise CompSRTError(f"{summary.errors[0]}{others}")
    if summary.made:
        size = folder_bytes(folder)
        logging.getLogger("basicsr").info(
            "%s: low-resolution images for x%d were made once; %.1f MB in %s, which may be deleted at any time",
            label, scale, size / 1e6, folder,
        )  # fmt: skip
    return layout.hr_dir, layout.lr_dir(scale)
