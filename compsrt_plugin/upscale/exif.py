"""Keep EXIF data of an enlarged image, with the size updated, and convert them to and from the tags of a TIFF.

EXIF data are a small TIFF: a byte order mark, then directories of 12-byte entries (tag, type, count, value). The
orientation tag stays, because the pixels are not turned.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image

from compsrt_plugin.data.formats.limits import quiet_and_any_size

PREFIX = b"Exif\x00\x00"  # precedes the data in a JPEG; other formats have no prefix
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
SHORT, LONG = 3, 4
WIDTH_TAGS, HEIGHT_TAGS = (0x0100, 0xA002), (0x0101, 0xA003)  # in the first directory, in the EXIF directory
# TIFF tags that describe the image and not the layout of its samples: description, make, model,
# orientation, resolution, software, date, artist, computer, white point, primaries, copyright.
DESCRIBING = (270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 318, 319, 33432)


def resized(exif: bytes, height: int, width: int) -> bytes:
    """Return EXIF data with every copy of the image size updated. All other bytes stay the same.

    Args:
        exif: the data from the byte order mark on. Damaged data are returned unchanged.
        height, width: the new size in pixels.
    """
    numbers = {**dict.fromkeys(WIDTH_TAGS, width), **dict.fromkeys(HEIGHT_TAGS, height)}
    return _changed(exif, numbers)


def _changed(data: bytes, numbers: Mapping[int, int]) -> bytes:
    """Replace the numbers of some tags in the first directory and in the EXIF directory."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return data
    changed = bytearray(data)
    try:
        (start,) = struct.unpack_from(order + "L", data, 4)
        inner = _change_directory(changed, order, start, numbers)
        if inner is not None:
            _change_directory(changed, order, inner, numbers)
    except struct.error:  # a directory offset points past the end
        return data
    return bytes(changed)


def _change_directory(data: bytearray, order: str, start: int, numbers: Mapping[int, int]) -> int | None:
    """Change one directory in place. Return the offset of the EXIF directory if this one has it."""
    inner = None
    (count,) = struct.unpack_from(order + "H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHL", data, entry)
        if tag == EXIF_DIRECTORY:
            (inner,) = struct.unpack_from(order + "L", data, entry + 8)
        number = numbers.get(tag)
        if number is None or values != 1 or kind not in (SHORT, LONG):
            continue
        # A SHORT takes half of the value field. A number that does not fit becomes a LONG.
        if kind == SHORT and number < 1 << 16:
            struct.pack_into(order + "HH", data, entry + 8, number, 0)
        else:
            struct.pack_into(order + "HLL", data, entry + 2, LONG, 1, number)
    return inner


def exif_of(image: Image.Image) -> bytes | None:
    """Return the EXIF data of an opened image from the byte order mark on, or None."""
    raw = image.info.get("exif")
    if isinstance(raw, bytes) and raw:
        return raw.removeprefix(PREFIX)
    return _describing(image.getexif())  # also from PNG text chunks of older programs, and an orientation in XMP


def exif_of_tiff(content: bytes, directory: int) -> bytes | None:
    """Return the descriptive tags of a TIFF as EXIF data, or None if there are none.

    Args:
        content: the file.
        directory: offset of the image's tags.
    """
    found = Image.Exif()
    found.endian = "<" if content[:1] == b"I" else ">"
    found.bigtiff = content[2:4] in (b"+\0", b"\0+")
    found.load_from_fp(io.BytesIO(content), directory)
    return _describing(found)


def _describing(found: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    for tag in DESCRIBING:
        if tag in found:
            kept[tag] = found[tag]
    for directory in (EXIF_DIRECTORY, GPS_DIRECTORY):
        entries = dict(found.get_ifd(directory))
        entries.pop(INTEROPERABILITY, None)  # an offset that is only valid in the old file
        if entries:
            kept.get_ifd(directory).update(entries)
    return kept.tobytes().removeprefix(PREFIX) if _holds_something(kept) else None


def tiff_tags(exif: bytes) -> dict[int, Any]:
    """Return EXIF data as tag -> value for a TIFF's first directory. The EXIF and GPS directories are dicts."""
    found = Image.Exif()
    with quiet_and_any_size():  # the caller reports damaged data
        found.load(exif)
    tags: dict[int, Any] = {tag: found[tag] for tag in DESCRIBING if tag in found}
    for directory in (EXIF_DIRECTORY, GPS_DIRECTORY):
        entries = dict(found.get_ifd(directory))
        entries.pop(INTEROPERABILITY, None)
        if entries:
            tags[directory] = entries
    return tags


def _holds_something(exif: Image.Exif) -> bool:
    return bool(dict(exif)) or any(exif.get_ifd(directory) for directory in (EXIF_DIRECTORY, GPS_DIRECTORY))
