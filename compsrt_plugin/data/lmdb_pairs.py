"""Pack prepared images into LMDBs for `io_backend: lmdb`, by BasicSR's own function."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from compsrt_plugin.data.images import image_size
from compsrt_plugin.data.journal import Journal
from compsrt_plugin.data.low_resolution import OutputLayout
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import UnwritableError

LONGEST_KEY = 511  # bytes, LMDB's limit


def make_lmdbs(names: Sequence[str], layout: OutputLayout) -> list[Path]:
    """Pack `HR/NAME.png` into `HR.lmdb` and the LR images of each scale into `LR_bicubic_X4.lmdb`.

    HR and LR share their keys (NAME), as BasicSR's PairedImageDataset expects. A database whose images have not changed
    is kept. An outdated one is replaced when the new one is complete.

    Args:
        names: names of the images without extension.
        layout: the layout of the images, made with `hr_copy`.

    Returns:
        The folders of all databases, HR first.

    Raises:
        CompSRTError: a name cannot be a key (see `check_keys`).
        UnwritableError: the disk is full, or the folder is not writable.
    """
    check_keys(names)
    keys = sorted(names)
    contents = {layout.out / "HR.lmdb": [layout.hr_dir / f"{key}.png" for key in keys]}
    for scale in layout.scales:
        database = layout.out / f"LR_bicubic_X{scale}.lmdb"
        contents[database] = [layout.lr_dir(scale) / f"{key}x{scale}.png" for key in keys]
    journal = Journal(layout.out)
    for database, images in contents.items():
        place = (database / "data.mdb").relative_to(layout.out).as_posix()
        made_from = [_fingerprint(images)]
        if not journal.holds(place, made_from):
            _make(database, keys, images)
            journal.add(place, made_from)
    return list(contents)


def check_keys(names: Sequence[str]) -> None:
    """Raise CompSRTError for a name that cannot be a key. BasicSR cuts keys at the first dot and requires ASCII."""
    for name in names:
        if "." in name or not name.isascii() or len(name) > LONGEST_KEY:
            raise CompSRTError(
                f"the image name {name!r} cannot be a key of a BasicSR LMDB",
                allowed=f"at most {LONGEST_KEY} ASCII characters without a dot",
                hint="rename the image, or leave --lmdb out",
            )


def _make(database: Path, keys: list[str], images: list[Path]) -> None:
    """Make one database next to its target, then move it there."""
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    raw_bytes = sum(3 * height * width for height, width in map(image_size, images))
    part = database.with_name(f".part-{os.getpid()}.lmdb")
    quiet = contextlib.ExitStack()
    quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))  # it prints lines in addition to its progress bar
    if not sys.stderr.isatty():
        quiet.enter_context(contextlib.redirect_stderr(io.StringIO()))
    try:
        with quiet:
            make_lmdb_from_imgs(
                data_path=str(images[0].parent),
                lmdb_path=str(part),
                img_path_list=[image.name for image in images],
                keys=keys,
                # BasicSR's estimate, ten times the first image, is too small if that image is small.
                # This is a limit, not what the file takes.
                map_size=2 * raw_bytes + 2**24,
            )
        if database.exists():
            shutil.rmtree(database)
        os.rename(part, database)
    except Exception as error:  # lmdb.Error derives from Exception only
        if not isinstance(error, OSError) and type(error).__module__.split(".")[0] != "lmdb":
            raise
        raise UnwritableError(
            f"cannot write {database}: {error}", hint="free some space, or choose a folder you may write to"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fingerprint(images: list[Path]) -> str:
    """Return a value that changes when one of the files is rewritten."""
    digest = hashlib.sha256()
    for image in images:
        stat = image.stat()
        digest.update(f"{image.name}/{stat.st_size}/{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
