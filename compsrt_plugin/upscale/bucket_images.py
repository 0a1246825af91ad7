"""List the images of a bucket: one object, those directly below a prefix, or those that match a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from compsrt_plugin.buckets import BucketPath, Place
from compsrt_plugin.data.formats.kinds import ALLOWED_ENDINGS, FORMATS
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.patterns import ANY_DEPTH, fixed_part, has_magic


def find_objects(place: BucketPath, out: Place | None = None) -> tuple[list[BucketPath], BucketPath, int]:
    """Return the images that an address means, the prefix that their names are relative to, and the others' number.

    Args:
        place: an object, a prefix, or a shell pattern in which `**` matches any depth.
        out: where results go, which are not among the matches of a pattern.

    Raises:
        CompSRTError: nothing is found, or the bucket is not there, closed, or not reached.
    """
    if place.key and place.is_file():
        return [place], place.parent, 0
    objects = _shown(place.below(), place)
    if not objects and has_magic(place.key):
        return _matches(place, out)
    images = _images(objects)
    if not images:
        raise CompSRTError(f"no images in {place}", allowed=f"objects ending in {ALLOWED_ENDINGS}, directly below it")
    return images, place, len(objects) - len(images)


def _matches(place: BucketPath, out: Place | None) -> tuple[list[BucketPath], BucketPath, int]:
    from fsspec.utils import glob_translate

    fixed = fixed_part(PurePosixPath(place.key))
    base = BucketPath(place.bucket, query=place.query) / "/".join(fixed.parts)
    try:
        pattern = re.compile(glob_translate(place.key))
    except ValueError as error:
        raise CompSRTError(f"{place}: {error}", allowed="** between slashes") from error
    rest = PurePosixPath(place.key).relative_to(fixed).parts
    deep = len(rest) > 1 or ANY_DEPTH in rest
    found = [path for path in _shown(base.below(deep=deep), base) if pattern.fullmatch(path.key)]
    if isinstance(out, BucketPath) and _is_below(out, base):  # results of an earlier run are not sources of this one
        found = [path for path in found if not _is_below(path, out)]
    if not (images := _images(found)):
        raise CompSRTError(f"no images match {place}", allowed=f"objects ending in {ALLOWED_ENDINGS}")
    return images, base, 0


def _shown(found: Iterable[BucketPath], base: BucketPath) -> list[BucketPath]:
    return [path for path in found if not any(part[0] == "." for part in path.relative_to(base).parts)]


def _images(found: Iterable[BucketPath]) -> list[BucketPath]:
    return [path for path in found if path.suffix.lower() in FORMATS]


def _is_below(path: BucketPath, base: BucketPath) -> bool:
    inside = PurePosixPath(path.key).is_relative_to(base.key)
    return path.bucket == base.bucket and inside and path.key != base.key
