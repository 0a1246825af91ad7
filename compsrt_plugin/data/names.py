"""Name the images of a data set in results, and the files that are written for them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from compsrt_plugin.errors import CompSRTError

_MOST_BYTES = 255  # of a file name, on nearly every file system


class ImageNames:
    """The unique names of the images of a data set.

    In results, the name of an image is its path below the folder of its data set: `baby.png`, `000/0001.png`. Files
    that are written for it have this name without the extension, unless another image would have the same.

    Args:
        dataset: a BasicSR data set with `opt`, and with `paths` (dicts with `gt_path` and `lq_path`) if known in
            advance.

    Raises:
        CompSRTError: two images have the same name.
    """

    def __init__(self, dataset: Any) -> None:
        self._roots = [dataset.opt.get(key) for key in ("dataroot_gt", "dataroot_lq")]
        pairs = [pair for pair in getattr(dataset, "paths", ()) if isinstance(pair, Mapping)]
        self._hr, self._lr = ([pair[key] for pair in pairs if key in pair] for key in ("gt_path", "lq_path"))
        counts = Counter(map(self.of, self._hr))
        for name, count in counts.items():
            if count > 1:
                found = f"data set {dataset.opt['name']} has {count} images of the name {name}"
                raise CompSRTError(
                    found, allowed="unique names, which identify images in results", hint="rename or remove one"
                )
        stems = Counter(self._stem(name) for name in {*map(self.of, self._hr), *map(self.of, self._lr)})
        self._shared = {stem for stem, count in stems.items() if count > 1}

    def of(self, path: str) -> str:
        """Return the name of the image at a path in results."""
        for root in self._roots:
            if root is not None and Path(root) in Path(path).parents:
                return Path(path).relative_to(root).as_posix()
        return Path(path).name if os.path.isabs(path) else Path(path).as_posix()

    def written(self, path: str, word: object) -> str:
        """Return the name of a file for the image at a path, below the folder of its data set.

        Args:
            path: path of the image.
            word: suffix of the file name.

        Raises:
            CompSRTError: the name is too long for a file system.
        """
        name = self.of(path)
        stem = self._stem(name)
        found = f"{name if stem in self._shared else stem}_{word}.png"
        size = len(os.fsencode(PurePosixPath(found).name))
        if size > _MOST_BYTES:
            raise CompSRTError(
                f"the result for {path} would have a name of {size} bytes",
                allowed=f"up to {_MOST_BYTES}",
                hint="give a shorter val.suffix or name",
            )
        return found

    def check_written(self, word: object) -> None:
        """Raise CompSRTError if the file name for one of the known LR images would be too long."""
        for path in self._lr:
            self.written(path, word)

    @staticmethod
    def _stem(name: str) -> str:
        return PurePosixPath(name).with_suffix("").as_posix()
