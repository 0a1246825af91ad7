"""BasicSR's paired dataset, with folders that may be left out and pictures that are checked first."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.registry import DATASET_REGISTRY

from compsrt_plugin.compat import register_once
from compsrt_plugin.data.checks import check_files, check_pairs, smallest_lr
from compsrt_plugin.data.images import read_image
from compsrt_plugin.data.roots import MissingDataError, find_roots
from compsrt_plugin.errors import CompSRTError, unknown_name

HOLDOUT_SHARE = 0.1
SUBSETS = ("train", "holdout")
BACKENDS = ("disk", "lmdb", "memcached")


@register_once(DATASET_REGISTRY)
class CompSRTPairedDataset(PairedImageDataset):
    """A `PairedImageDataset` that finds its folders by itself where none are given.

    All of BasicSR's options hold. Besides:

    - `dataroot_gt` without `dataroot_lq`: LR pictures are made, once, in the cache, by MATLAB's bicubic;
    - `embedded: demo` or `calibration`: photographs that come with scikit-image;
    - neither: `$COMPSRT_DATA/NAME/HR` and `$COMPSRT_DATA/NAME/LR_bicubic/X4`, NAME being the option `name`;
    - `subset: holdout` keeps a tenth of the pictures (at least one), chosen by a hash of their names;
      `subset: train` keeps the rest;
    - `strict_data: true`: a test set that is not there is an error, not an empty data set with a warning.

    Pictures come sorted by name. Folders and meta_info_file's are checked before anything else happens.

    Args:
        opt: the options of one data set as BasicSR parsed them: `name`, `phase`, `scale` and those above.

    Raises:
        CompSRTError: pictures that are damaged, do not match or are too small; options that contradict each
            other; a training set that is not there.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        options: dict[str, Any] = {**opt, "io_backend": dict(opt.get("io_backend") or {"type": "disk"})}
        backend = options["io_backend"].get("type")
        if backend not in BACKENDS:
            raise unknown_name(f"io_backend.type of data set {options['name']}:", backend, BACKENDS)
        self._on_disk = backend == "disk"
        training = options["phase"] == "train"
        try:
            roots = find_roots(options)
        except MissingDataError as error:
            if training or options.get("strict_data"):
                raise
            logging.getLogger("basicsr").warning("%s; it is left out", error)
            self.opt, self.paths = options, []
            return
        options.update(dataroot_gt=str(roots.hr), dataroot_lq=str(roots.lr), filename_tmpl=roots.filename_tmpl)
        limits: dict[str, Any] = {
            "decode": not training,
            "min_lr": _crop_side(options) if training else smallest_lr(options["scale"]),
            "exact": training,
        }
        by_list = options.get("meta_info_file") is not None
        if self._on_disk and not by_list:
            try:
                check_pairs(roots.hr, roots.lr, options["scale"], roots.filename_tmpl, **limits)
            except CompSRTError as error:
                if roots.made_from is None:
                    raise
                raise CompSRTError(f"{error}; they were made from {roots.made_from}: change them there") from error
        try:
            super().__init__(options)
        except (OSError, ValueError, AssertionError) as error:
            raise CompSRTError(f"data set {options['name']}: {error}") from error
        if self._on_disk and by_list:
            pairs = [(Path(p["gt_path"]), Path(p["lq_path"])) for p in self.paths]
            check_files(pairs, options["scale"], **limits)
        self.paths.sort(key=_name)
        if options.get("subset") is not None:
            self.paths = _subset(self.paths, options["subset"], options["name"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return BasicSR's pair `lq`, `gt` (3, h, w) in 0..1 with their paths; CompSRTError for a damaged picture."""
        try:
            return super().__getitem__(index)
        except Exception:
            if self._on_disk:
                for key in ("gt_path", "lq_path"):
                    read_image(Path(self.paths[index][key]))  # knows better what is wrong with the file
            raise


def _crop_side(options: Mapping[str, Any]) -> int:
    """Return the side of a training crop in LR pixels."""
    side = options.get("gt_size")
    if not isinstance(side, int) or side < options["scale"]:
        raise CompSRTError(
            f"gt_size of data set {options['name']} is {side!r}",
            allowed="the side of training crops, in HR pixels",
        )
    return side // options["scale"]


def _name(pair: Mapping[str, str]) -> str:
    return Path(pair["gt_path"]).stem


def _subset(pairs: list[dict[str, str]], subset: str, dataset: str) -> list[dict[str, str]]:
    """Keep the held-out tenth or the rest: the same pictures on every machine, in any order of files."""
    if subset not in SUBSETS:
        raise unknown_name(f"subset of data set {dataset}:", subset, SUBSETS)
    drawn = sorted((_name(pair) for pair in pairs), key=lambda name: hashlib.sha256(name.encode()).digest())
    holdout = set(drawn[: max(1, round(HOLDOUT_SHARE * len(pairs)))])
    kept = [pair for pair in pairs if (_name(pair) in holdout) == (subset == "holdout")]
    if not kept:
        raise CompSRTError(
            f"subset {subset} of data set {dataset} is empty: it has only {len(pairs)} picture(s)",
            allowed="at least 2",
            hint="add pictures, or leave subset out",
        )
    return kept
