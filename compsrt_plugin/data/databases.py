"""Open BasicSR's LMDBs once per process, and check them by their lists and keys without decoding images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

from compsrt_plugin.data.checks import check_sizes
from compsrt_plugin.errors import CompSRTError, nearest

LIST = "meta_info.txt"
LINE = re.compile(r"(?P<key>[^.]+)\S* \((?P<height>\d+),(?P<width>\d+),\d+\)")
_HINT = "basicsr prepare --lmdb makes such folders"
_open: WeakValueDictionary[tuple[Path, int], lmdb.Environment] = WeakValueDictionary()
_Sizes = dict[str, tuple[int, int] | None]  # key -> (height, width), or None if the list does not have it


def open_database(folder: Path) -> lmdb.Environment:
    """Return an LMDB for reading. Several data sets share it, because lmdb cannot open a database twice per process.

    Raises:
        OSError, lmdb.Error: it is missing or not a database.
    """
    name = folder.resolve(), (folder / "data.mdb").stat().st_ino
    found = _open.get(name)
    if found is None:
        found = _open[name] = lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
    return found


def check_databases(
    folders: Mapping[str, Path],
    dataset: str,
    scale: int | None = None,
    *,
    min_lr: int = 1,
    exact: bool = False,
) -> None:
    """Check the LMDBs of a data set, and that HR and LR belong together.

    Args:
        folders: option key -> folder: `dataroot_gt`, `dataroot_lq`, or one of them.
        dataset: name of the data set in messages.
        scale: HR side / LR side; None if they need not fit.
        min_lr: smallest allowed LR side in pixels.
        exact: whether HR must be exactly scale × LR.

    Raises:
        CompSRTError: a folder is not a BasicSR database, the keys differ, or the sizes do not fit.
    """
    sizes = {key: _sizes(folder, f"{dataset}: {key}") for key, folder in folders.items()}
    if len(sizes) < 2:
        return
    (hr, lr), (hr_dir, lr_dir) = sizes.values(), folders.values()
    for one, other, place in ((hr, lr, lr_dir), (lr, hr, hr_dir)):
        for key in one:
            if key not in other:
                near = nearest(key, other)
                raise CompSRTError(
                    f"{dataset}: Keys in dataroot_gt and dataroot_lq are different: {key!r} is not in {place}",
                    hint=f"the nearest is {near!r}" if near else _HINT,
                )
    if scale is not None:
        for key, size in hr.items():
            low = lr[key]
            if size is not None and low is not None:
                check_sizes(hr_dir / key, size, lr_dir / key, low, scale, min_lr=min_lr, exact=exact)


def _sizes(folder: Path, what: str) -> _Sizes:
    """Return the images of a database according to its list. Each must be in it."""
    if folder.suffix != ".lmdb":
        raise CompSRTError(f"{what} {folder} is not a database", allowed="a folder that ends in .lmdb", hint=_HINT)
    try:
        lines = (folder / LIST).read_text(encoding="utf-8").splitlines()
        database = open_database(folder)
    except (OSError, ValueError, lmdb.Error) as error:
        raise CompSRTError(f"{what} {folder} cannot be read ({error})", hint=_HINT) from error
    sizes: _Sizes = {}
    with database.begin() as transaction:
        cursor = transaction.cursor()
        for line in lines:
            key, match = line.split(".")[0], LINE.match(line)  # a key as BasicSR reads it
            if not cursor.set_key(key.encode("ascii", "replace")):
                raise CompSRTError(f"{what} {folder} has no {key!r}, which its {LIST} names", hint=_HINT)
            sizes[key] = (int(match["height"]), int(match["width"])) if match else None
    if not sizes:
        raise CompSRTError(f"{what} {folder}: its {LIST} is empty", hint=_HINT)
    return sizes
