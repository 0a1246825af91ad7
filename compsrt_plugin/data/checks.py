"""Check before a run that HR and LR images belong together and can be used."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compsrt_plugin import threads
from compsrt_plugin.data.images import SUFFIXES, image_size, read_image, stamp
from compsrt_plugin.errors import CompSRTError, nearest

SSIM_WINDOW = 11  # pixels; BasicSR's SSIM uses only positions where the whole window fits
COMMON_CROP = 12  # HR images are often cropped to multiples of 12, so that x2, x3 and x4 fit


def smallest_lr(scale: int) -> int:
    """Return the smallest LR side in pixels for which SSIM can be computed (with a border of `scale` HR pixels cut).

    >>> smallest_lr(4)
    5
    """
    return math.ceil((SSIM_WINDOW + 2 * scale) / scale)


def crop_side(options: Mapping[str, Any]) -> int:
    """Return the side of a training crop in LR pixels. CompSRTError if `gt_size` is invalid."""
    side, scale = options.get("gt_size"), options["scale"]
    if not isinstance(side, int) or isinstance(side, bool) or side < scale:
        raise CompSRTError(
            f"gt_size of data set {options['name']} is {side!r}",
            allowed="the side of training crops, in HR pixels",
        )
    return side // scale


def check_pairs(
    hr_dir: Path,
    lr_dir: Path,
    scale: int,
    filename_tmpl: str,
    *,
    decode: bool,
    min_lr: int,
    exact: bool = False,
) -> None:
    """Check two folders of HR and LR images: every visible file, paired by name, like BasicSR.

    Args:
        hr_dir: HR images.
        lr_dir: LR images, named by the template, with the extension of the HR file.
        scale: HR side / LR side.
        filename_tmpl: BasicSR's template, such as '{}x4'.
        decode: whether to read every image in full. If not, only headers are read.
        min_lr: smallest allowed LR side in pixels.
        exact: whether HR must be exactly scale × LR, as training needs. If not, HR may be larger by what mod-cropping
            cuts off, as BasicSR does for tests.

    Raises:
        CompSRTError: a file is wrong. The message names the first one.
    """
    check_files(_paired(hr_dir, lr_dir, scale, filename_tmpl), scale, decode=decode, min_lr=min_lr, exact=exact)


def check_files(pairs: Sequence[tuple[Path, Path]], scale: int, *, decode: bool, min_lr: int, exact: bool) -> None:
    """Check pairs of (HR file, LR file). See `check_pairs` for arguments and errors."""

    def check(pair: tuple[Path, Path]) -> None:
        hr, lr = pair
        hr_size, lr_size = (_size(p, stamp(p), decode) for p in pair)
        check_sizes(hr, hr_size, lr, lr_size, scale, min_lr=min_lr, exact=exact)

    with threads.executor(4) as executor:  # decoding releases the GIL
        try:
            for _ in executor.map(check, pairs):
                pass
        finally:
            executor.shutdown(cancel_futures=True)


@functools.lru_cache(maxsize=2**17)
def _size(path: Path, _as_it_is: Any, decode: bool) -> tuple[int, ...]:
    """Return (height, width), cached per file version, because a run builds several data sets of the same files."""
    return read_image(path).shape[:2] if decode else image_size(path)


def check_sizes(
    hr: Path,
    hr_size: tuple[int, ...],
    lr: Path,
    lr_size: tuple[int, ...],
    scale: int,
    *,
    min_lr: int,
    exact: bool,
) -> None:
    """Check the sizes (height, width) of one pair. See `check_pairs` for other arguments and errors."""
    _check_match(hr, hr_size, lr, lr_size, scale, exact)
    if min(lr_size) < min_lr:
        raise CompSRTError(
            f"the LR image {lr} is too small ({_pixels(lr_size)})",
            allowed=f"at least {min_lr}×{min_lr}, for {'training crops' if exact else 'SSIM'} at x{scale}",
            hint=f"move it and {hr} elsewhere" + (", or lower gt_size (for bounds: patch_size)" if exact else ""),
        )


def _check_match(
    hr: Path, hr_size: tuple[int, ...], lr: Path, lr_size: tuple[int, ...], scale: int, exact: bool
) -> None:
    spare = 1 if exact else math.lcm(scale, COMMON_CROP)
    if all(0 <= high - scale * low < spare for high, low in zip(hr_size, lr_size)):
        return
    found = f"{hr} ({_pixels(hr_size)}) and {lr} ({_pixels(lr_size)}) do not match at x{scale}"
    fitting = [side // scale for side in hr_size]
    if exact and fitting == list(lr_size):
        raise CompSRTError(
            found,
            allowed=f"HR of exactly {_pixels([scale * side for side in lr_size])} for training",
            hint=f"basicsr prepare --hr {hr.parent} --scales {scale} --hr-copy --out DIR makes both",
        )
    raise CompSRTError(
        found,
        allowed=f"LR of {_pixels(fitting)} for this HR",
        hint="check scale and both folders; basicsr prepare makes LR images",
    )


def _pixels(size: Sequence[int]) -> str:
    return f"{size[1]}×{size[0]} pixels"


def _paired(hr_dir: Path, lr_dir: Path, scale: int, filename_tmpl: str) -> list[tuple[Path, Path]]:
    """Return the files of both folders paired by name. CompSRTError for a file without partner."""
    hr_files, lr_files = visible_files(hr_dir), visible_files(lr_dir)
    rule = f"the HR file's name in filename_tmpl {filename_tmpl!r}, with the HR file's ending"
    pairs = {}
    for hr in hr_files.values():
        partner = _fill(filename_tmpl, hr.stem) + hr.suffix
        if partner not in lr_files:
            near = nearest(partner, lr_files)
            raise CompSRTError(
                f"{hr} has no LR partner: no {partner} in {lr_dir}",
                allowed=rule,
                hint=(f"the nearest is {near}; " if near else "")
                + f"basicsr prepare --hr {hr_dir} --scales {scale} --out DIR makes LR images",
            )
        pairs[partner] = (hr, lr_files[partner])
    for name, lr in lr_files.items():
        if name not in pairs:
            hint = "add its HR, or move it to another folder"
            raise CompSRTError(f"{lr} has no HR partner in {hr_dir}", allowed=rule, hint=hint)
    return list(pairs.values())


def visible_files(folder: Path) -> dict[str, Path]:
    """Return name → file of all files that BasicSR takes for images, sorted. Raises CompSRTError."""
    try:
        files = {p.name: p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and p.is_file()}
    except OSError as error:
        raise CompSRTError(
            f"cannot read the image folder {folder}: {error.strerror or error}", hint="check the path"
        ) from error
    if not files:
        raise CompSRTError(f"no images in {folder}", hint="check the path")
    for file in files.values():
        if file.suffix.lower() not in SUFFIXES:
            image_size(file)  # report a stray file as such, not as a file without partner
    return files


def _fill(filename_tmpl: str, name: str) -> str:
    try:
        filled = filename_tmpl.format(name)
    except (ValueError, LookupError, AttributeError):
        filled = None
    if filled is None or filled == filename_tmpl:
        raise CompSRTError(f"filename_tmpl is {filename_tmpl!r}", allowed="a text with one {}, such as '{}x4'")
    return filled
