"""EXIF data of an enlarged picture: all as it was, but for the size; and to and from the tags of a TIFF.

EXIF data are a small TIFF: a byte order mark, then directories of 12-byte entries (tag, type, count, value). The
orientation stays, since the pixels stay as they lie.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image

from compsrt_plugin.data.formats.limits import quiet_and_any_size

PREFIX = b"Exif\x00\x00"  # of JPEG; other formats hold the data alone
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
SHORT, LONG = 3, 4
WIDTH_TAGS, HEIGHT_TAGS = (0x0100, 0xA002), (0x0101, 0xA003)  # in the first directory, in the one of EXIF
# What a TIFF's own tags tell about the picture, not about how its samples are laid out: description, make, model,
# orientation, resolution, software, date, artist, computer, white point, primaries, copyright.
DESCRIBING = (270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 318, 319, 33432)


def resized(exif: bytes, height: int, width: int) -> bytes:
    """Return the data with the picture's size changed wherever it is noted, all other bytes as they were.

    Args:
        exif: from the byte order mark on; damaged data come back as they are.
        height, width: in pixels.
    """
    numbers = {**dict.fromkeys(WIDTH_TAGS, width), **dict.fromkeys(HEIGHT_TAGS, height)}
    return _changed(exif, numbers)


def _changed(data: bytes, numbers: Mapping[int, int]) -> bytes:
    """Replace the numbers of some tags, in the first directory and in that of EXIF, where these hold them."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return data
    changed = bytearray(data)
    try:
        (start,) = struct.unpack_from(order + "L", data, 4)
        inner = _change_directory(changed, order, start, numbers)
        if inner is not None:
            _change_directory(changed, order, inner, numbers)
    except struct.error:  # a directory that points out of the data
        return data
    return bytes(changed)


def _change_directory(data: bytearray, order: str, start: int, numbers: Mapping[int, int]) -> int | None:
    """Change one directory in place; return where that of EXIF is, if this one says so."""
    inner = None
    (count,) = struct.unpack_from(order + "H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHL", data, entry)
        if tag == EXIF_DIRECTORY:
            (inner,) = struct.unpack_from(order + "L", data, entry + 8)
        number = numbers.get(tag)
        if number is None or values != 1 or kind not in (SHORT, LONG):
            continue
        # A SHORT takes half of its field: a number that outgrows it becomes a LONG.
        if kind == SHORT and number < 1 << 16:
            struct.pack_into(order + "HH", data, entry + 8, number, 0)
        else:
            struct.pack_into(order + "HLL", data, entry + 2, LONG, 1, number)
    return inner


def exif_of(image: Image.Image) -> bytes | None:
    """Return the EXIF data of an opened picture, from the byte order mark on; None if it has none."""
    raw = image.info.get("exif")
    if isinstance(raw, bytes) and raw:
        return raw.removeprefix(PREFIX)
    return _describing(image.getexif())  # also what older programs put into PNG texts, and an orientation in XMP


def exif_of_tiff(content: bytes, directory: int) -> bytes | None:
    """Return what a TIFF's tags tell about its picture; None if nothing.

    Args:
        content: of the file.
        directory: where the tags of the picture start.
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
        entries.pop(INTEROPERABILITY, None)  # an offset into the old file
        if entries:
            kept.get_ifd(directory).update(entries)
    return kept.tobytes().removeprefix(PREFIX) if _holds_something(kept) else None


def tiff_tags(exif: bytes) -> dict[int, Any]:
    """Return tag -> value for a TIFF's first directory; the EXIF and GPS directories as dicts."""
    found = Image.Exif()
    with quiet_and_any_size():  # damaged data are the caller's to name
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
