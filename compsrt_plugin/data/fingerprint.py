"""Fingerprint the images of a data set. A resumed run must see the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from compsrt_plugin.data.images import image_size


def fingerprint(dataset: Any) -> str:
    """Return a text that changes if an image is added, removed, renamed, reordered, or changes its size.

    Folders are ignored, because images may be moved. For a data set without a list `paths`, the length is used.

    Args:
        dataset: a data set of BasicSR, of this package, or of the user.
    """
    paths: Iterable[Any] = getattr(dataset, "paths", None) or ()
    digest = hashlib.sha256(str(len(dataset)).encode())
    for entry in paths:
        path = Path(entry.get("gt_path") or next(iter(entry.values())) if isinstance(entry, Mapping) else entry)
        size = image_size(path) if path.is_file() else None  # None: a key of an LMDB
        digest.update(f"\n{path.name} {size}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
