"""What the images of one data set are called: in results, and as the files that are written of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from compsrt_plugin.errors import CompSRTError

_MOST_BYTES = 255  # of a file's name, on nearly every file system


class ImageNames:
    """The names of one data set's images; each has its own.

    In results an image goes by its whole file name, below the folder of its data set: `baby.png`, `000/0001.png`.
    What is written of it is named after it without the ending, unless that would be another image's too.

    Args:
        dataset: one of BasicSR's form, with `opt` and, if it can say so beforehand, `paths`: dicts with `gt_path`
            and `lq_path`.

    Raises:
        CompSRTError: two images of one name.
    """

    def __init__(self, dataset: Any) -> None:
        self._roots = [dataset.opt.get(key) for key in ("dataroot_gt", "dataroot_lq")]
        pairs = [pair for pair in getattr(dataset, "paths", ()) if isinstance(pair, Mapping)]
        self._hr, self._lr = ([pair[key] for pair in pairs if key in pair] for key in ("gt_path", "lq_path"))
        counts = Counter(map(self.of, self._hr))
        for name, count in counts.items():
            if count > 1:
                found = f"data set {dataset.opt['name']} has {count} images of the name {name}"
                raise CompSRTError(found, allowed="one of each: results go by it", hint="rename or remove one")
        stems = Counter(self._stem(name) for name in {*map(self.of, self._hr), *map(self.of, self._lr)})
        self._shared = {stem for stem, count in stems.items() if count > 1}

    def of(self, path: str) -> str:
        """Return the name in results of the image at a path."""
        for root in self._roots:
            if root is not None and Path(root) in Path(path).parents:
                return Path(path).relative_to(root).as_posix()
        return Path(path).name if os.path.isabs(path) else Path(path).as_posix()

    def written(self, path: str, word: object) -> str:
        """Return the name of a file that is written of the image at a path, below its data set's folder.

        Args:
            path: of the image.
            word: what the file's name ends in.

        Raises:
            CompSRTError: no file system takes a name of that length.
        """
        name = self.of(path)
        stem = self._stem(name)
        found = f"{name if stem in self._shared else stem}_{word}.png"
        size = len(os.fsencode(PurePosixPath(found).name))
        if size > _MOST_BYTES:
            raise CompSRTError(
                f"the image made of {path} would have a name of {size} bytes",
                allowed=f"up to {_MOST_BYTES}",
                hint="give a shorter val.suffix or name",
            )
        return found

    def check_written(self, word: object) -> None:
        """Raise CompSRTError if one of the LR images known beforehand would be written under too long a name."""
        for path in self._lr:
            self.written(path, word)

    @staticmethod
    def _stem(name: str) -> str:
        return PurePosixPath(name).with_suffix("").as_posix()
