"""Define BasicSR's paired dataset with optional folders, and with images that are checked first."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.registry import DATASET_REGISTRY

from compsrt_plugin.config.typed import parse_value
from compsrt_plugin.config.values import PositiveShare
from compsrt_plugin.data.basicsr_sets import BACKENDS
from compsrt_plugin.data.checks import check_files, check_pairs, crop_side, smallest_lr
from compsrt_plugin.data.databases import check_databases
from compsrt_plugin.data.embedded import SUBSETS
from compsrt_plugin.data.kept_images import KeptImage, decode_kept, shrunk
from compsrt_plugin.data.names import ImageNames
from compsrt_plugin.data.roots import MissingDataError, find_roots
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.registries import register_once

HOLDOUT_SHARE = 0.1


@register_once(DATASET_REGISTRY)
class CompSRTPairedDataset(PairedImageDataset):
    """A `PairedImageDataset` that finds its folders if none are given.

    It has all options of BasicSR, and these:

    - `dataroot_gt` without `dataroot_lq`: LR images are made once in the cache, by MATLAB's bicubic;
    - `embedded: demo` or `calibration`: photographs that come with scikit-image;
    - neither: `$COMPSRT_DATA/NAME/HR` and `$COMPSRT_DATA/NAME/LR_bicubic/X4`, where NAME is the option `name`;
    - `subset: holdout` keeps a tenth of the images (at least one), chosen by a hash of their names, or the right
      part of each coloured one of `embedded: calibration`; `subset: train` keeps the rest;
    - `centre_patch: 96`: tests and validation use only the centre of larger images, of this many low-resolution pixels,
      so that many images take the time of one;
    - `keep_in_memory: true`: training images are decoded once, which gives the same patches in a fraction of the time;
    - `shrunk: [0.8, 0.6]`: training also uses these images at these shares of their size, LR by MATLAB's bicubic;
    - `strict_data: true`: a missing test set is an error, not an empty data set with a warning.

    Images are sorted by name. Folders and meta_info_file are checked first.

    Args:
        opt: options of one data set as parsed by BasicSR: `name`, `phase`, `scale` and those above.

    Raises:
        CompSRTError: images are damaged, do not match or are too small; options contradict each other; or a training
            set is missing.
    """

    finds_its_folders = True

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
            self.opt, self.paths, self.kept = options, [], None
            return
        options.update(dataroot_gt=str(roots.hr), dataroot_lq=str(roots.lr), filename_tmpl=roots.filename_tmpl)
        limits: dict[str, Any] = {
            "decode": not training,
            "min_lr": crop_side(options) if training else smallest_lr(options["scale"]),
            "exact": training,
        }
        by_list = options.get("meta_info_file") is not None
        if self._on_disk and not by_list:
            try:
                check_pairs(roots.hr, roots.lr, options["scale"], roots.filename_tmpl, **limits)
            except CompSRTError as error:
                if roots.made_from is None:
                    raise
                raise CompSRTError(
                    f"{error}; these are copies in the cache, made from {roots.made_from}: change that folder"
                ) from error
        if backend == "lmdb":
            databases = {"dataroot_gt": roots.hr, "dataroot_lq": roots.lr}
            limits.pop("decode")
            check_databases(databases, f"data set {options['name']}", options["scale"], **limits)
        try:
            super().__init__(options)
        except (OSError, ValueError, AssertionError) as error:
            raise CompSRTError(f"data set {options['name']}: {error}") from error
        if self._on_disk and by_list:
            pairs = [(Path(p["gt_path"]), Path(p["lq_path"])) for p in self.paths]
            check_files(pairs, options["scale"], **limits)
        self.paths.sort(key=lambda pair: (_name(pair), pair["gt_path"]))
        if not training:
            ImageNames(self)  # otherwise duplicate names would be found hours later
        if options.get("subset") is not None and not roots.divided:
            self.paths = _subset(self.paths, options["subset"], options["name"])
        self._centre_side = _centre_side(options)
        self.kept: list[KeptImage] | None = None  # the training images if they are kept in memory
        if training and options.get("keep_in_memory"):
            self.kept = self._decoded()
        if training and options.get("shrunk"):
            self._add_shrunk(options["shrunk"], limits["min_lr"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return BasicSR's pair `lq`, `gt` (3, h, w) in 0..1 with their paths. CompSRTError for a damaged image."""
        if self.kept is not None:
            opt, paths = self.opt, self.paths[index]
            patches = self.kept[index].crop(
                opt["gt_size"], opt["scale"], opt["use_hflip"], opt["use_rot"], paths["gt_path"]
            )
            return {**patches, **paths}
        return self._centre(super().__getitem__(index))

    def _centre(self, pair: dict[str, Any]) -> dict[str, Any]:
        """Return the centre of a pair for tests or validation."""
        side = self._centre_side
        if side is None:
            return pair
        scale, (height, width) = self.opt["scale"], pair["lq"].shape[1:]
        top, left = max(0, height - side) // 2, max(0, width - side) // 2
        pair["lq"] = pair["lq"][:, top : top + side, left : left + side]
        top, left, side = scale * top, scale * left, scale * side
        pair["gt"] = pair["gt"][:, top : top + side, left : left + side]
        return pair

    def _decoded(self) -> list[KeptImage]:
        if not self._on_disk or self.mean is not None or self.std is not None or self.opt.get("color"):
            raise CompSRTError(
                f"data set {self.opt['name']} has keep_in_memory",
                allowed="images on disk (io_backend), in colour, without mean and std",
            )
        return decode_kept([(Path(pair["gt_path"]), Path(pair["lq_path"])) for pair in self.paths])

    def _add_shrunk(self, shares: Any, least: int) -> None:
        """Add the images at these shares of their size, if a patch of `least` low-resolution pixels fits."""
        key, scale = f"shrunk of data set {self.opt['name']}", self.opt["scale"]
        if self.kept is None:
            raise CompSRTError(f"{key} is {shares!r}", allowed="together with keep_in_memory: true")
        if not isinstance(shares, (list, tuple)):
            raise CompSRTError(f"{key} is {shares!r}", allowed="a list of numbers above 0 and below 1")
        paths, kept = list(self.paths), list(self.kept)
        for share in shares:
            parse_value(PositiveShare, key, share)
            smaller = zip(paths, shrunk(kept, share, scale))
            fitting = [(pair, image) for pair, image in smaller if min(image.lr.shape[:2]) >= least]
            if not fitting:
                raise CompSRTError(
                    f"{key} has {share}, at which no image is large enough for a patch",
                    hint="use a larger share, or a smaller gt_size",
                )
            self.paths += [pair for pair, _ in fitting]
            self.kept += [image for _, image in fitting]


def _centre_side(options: Mapping[str, Any]) -> int | None:
    """Return the side in LR pixels of the centre that is scored, or None for whole images."""
    side, least = options.get("centre_patch"), smallest_lr(options["scale"])
    if side is None or options["phase"] == "train":
        return None
    if not isinstance(side, int) or side < least:
        raise CompSRTError(
            f"centre_patch of data set {options['name']} is {side!r}",
            allowed=f"low-resolution pixels, from {least} on, or null for whole images",
        )
    return side


def _name(pair: Mapping[str, str]) -> str:
    return Path(pair["gt_path"]).stem


def _subset(pairs: list[dict[str, str]], subset: str, dataset: str) -> list[dict[str, str]]:
    """Return the held-out tenth or the rest: the same images on every machine and in any order of files."""
    if subset not in SUBSETS:
        raise unknown_name(f"subset of data set {dataset}:", subset, SUBSETS)
    drawn = sorted((_name(pair) for pair in pairs), key=lambda name: hashlib.sha256(name.encode()).digest())
    holdout = set(drawn[: max(1, round(HOLDOUT_SHARE * len(pairs)))])
    kept = [pair for pair in pairs if (_name(pair) in holdout) == (subset == "holdout")]
    if not kept:
        raise CompSRTError(
            f"subset {subset} of data set {dataset} is empty: it has only {len(pairs)} image(s)",
            allowed="at least 2",
            hint="add images, or leave subset out",
        )
    return kept
