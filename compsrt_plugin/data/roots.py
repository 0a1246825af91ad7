"""Find the images of a data set: given folders, an HR folder alone, embedded images, or a name below a root."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compsrt_plugin.data.cache import cached_lr
from compsrt_plugin.data.embedded import embedded_pairs
from compsrt_plugin.errors import CompSRTError

VARIABLE = "COMPSRT_DATA"
BENCHMARKS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
"""The data sets of the installed test files, on which papers compare networks."""


class MissingDataError(CompSRTError):
    """A data set is not on this machine. A test leaves it out unless `strict_data` is set."""


@dataclass(frozen=True)
class Roots:
    """The folders of a data set, for BasicSR's PairedImageDataset.

    Attributes:
        hr: folder of HR images.
        lr: folder of LR images.
        filename_tmpl: template of the name of an LR image, from the name of its HR image.
        made_from: the folder that the pairs were made from, if they are in the cache.
        divided: whether the option `subset` is already applied.
    """

    hr: Path
    lr: Path
    filename_tmpl: str
    made_from: Path | None = None
    divided: bool = False


def find_roots(opt: Mapping[str, Any]) -> Roots:
    """Return the folders of one data set.

    The first applicable rule is used: `dataroot_gt` with `dataroot_lq`; `dataroot_gt` alone (LR images are made once in
    the cache); `embedded: demo|calibration`; `$COMPSRT_DATA/NAME/HR` with `LR_bicubic/X4`, which is made in the cache
    if it is missing.

    Args:
        opt: the options of the data set as BasicSR passes them, including `name` and `scale`.

    Raises:
        MissingDataError: a folder does not exist. The message says where the files belong.
        CompSRTError: options contradict each other, or images cannot be used.
    """
    name, scale = opt["name"], opt.get("scale")
    if not isinstance(scale, int) or scale < 1:
        raise CompSRTError(f"the scale of data set {name} is {scale!r}", allowed="an integer from 1 on")
    hr, lr = opt.get("dataroot_gt"), opt.get("dataroot_lq")
    if hr is None and lr is not None:
        raise no_originals(f"data set {name}", lr)
    if hr is not None and lr is not None:
        folders = _folder(name, "dataroot_gt", hr), _folder(name, "dataroot_lq", lr)
        return Roots(*folders, opt.get("filename_tmpl") or "{}")
    if opt["io_backend"]["type"] != "disk" or opt.get("meta_info_file") is not None:
        raise CompSRTError(
            f"data set {name} needs dataroot_gt and dataroot_lq",
            hint="an LMDB or a meta_info_file does not tell where the images are",
        )
    if hr is not None:
        folder = _folder(name, "dataroot_gt", hr)
        return Roots(*cached_lr(folder, scale), f"{{}}x{scale}", made_from=folder)
    if opt.get("embedded") is not None:
        which, subset = opt["embedded"], opt.get("subset")
        divided = which == "calibration" and subset is not None
        return Roots(*embedded_pairs(which, scale, subset), f"{{}}x{scale}", divided=divided)
    return _by_name(name, scale, opt.get("filename_tmpl") or f"{{}}x{scale}")


def no_originals(dataset: str, lr: Any) -> CompSRTError:
    """Return the error for a data set without originals.

    Args:
        dataset: name of the data set in the message.
        lr: its folder of LR images.
    """
    return CompSRTError(
        f"{dataset} has a dataroot_lq but no dataroot_gt: there are no originals",
        allowed="both folders, or dataroot_gt alone (LR images are then made)",
        hint=f"to enlarge images without scoring them: basicsr upscale {lr} -o FOLDER",
    )


def _folder(name: str, key: str, given: Any) -> Path:
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise MissingDataError(f"data set {name}: {key} {folder} is not a folder", hint="check the path")
    return folder


def _by_name(name: str, scale: int, filename_tmpl: str) -> Roots:
    """Return the folders of a data set by its name below `$COMPSRT_DATA`."""
    given = os.environ.get(VARIABLE)
    root = Path(given).expanduser().absolute() if given else Path(f"${VARIABLE}")
    hr, lr = root / name / "HR", root / name / "LR_bicubic" / f"X{scale}"
    if not given or not hr.is_dir():
        raise MissingDataError(
            f"data set {name} is missing: its images belong in {hr} and {lr} "
            f"(NAME.png and {filename_tmpl.replace('{}', 'NAME')}.png)",
            hint=f"{VARIABLE} is {given or 'not set'}, the common root of such folders",
        )
    if not lr.is_dir():
        return Roots(*cached_lr(hr, scale), f"{{}}x{scale}", made_from=hr)
    return Roots(hr, lr, filename_tmpl)
