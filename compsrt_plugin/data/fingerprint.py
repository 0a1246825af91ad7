"""Which images a data set has, as one short text: a run that goes on must see the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from compsrt_plugin.data.images import image_size


def fingerprint(dataset: Any) -> str:
    """Return a text that is another one if an image is added, removed, renamed, moved in order, or of another size.

    Folders do not count: images may lie elsewhere today. Of a data set without a list `paths` the length counts.

    Args:
        dataset: one of BasicSR's, ours, or a user's.
    """
    paths: Iterable[Any] = getattr(dataset, "paths", None) or ()
    digest = hashlib.sha256(str(len(dataset)).encode())
    for entry in paths:
        path = Path(entry.get("gt_path") or next(iter(entry.values())) if isinstance(entry, Mapping) else entry)
        size = image_size(path) if path.is_file() else None  # None: a key of an LMDB
        digest.update(f"\n{path.name} {size}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
