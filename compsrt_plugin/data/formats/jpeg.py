"""Decide whether a JPEG without its end marker is complete."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

from PIL import Image

END = b"\xff\xd9"
ENDS, SCAN, RESTART_INTERVAL, FIRST_RESTART = 0xD9, 0xDA, 0xDD, 0xD0
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])")  # a marker that is not part of a scan's data
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
LONGEST = 4096  # bytes; upper bound of a unit of a JPEG: 10 blocks of 64 values in 16 + 10 bits
PATTERNS = (b"\x55" * LONGEST, b"\xb6" * LONGEST)  # two patterns that decode differently


def with_end(content: bytes) -> bytes:
    """Return a JPEG with an end marker, which is added if the image is complete without it.

    Decoders invent missing data. Therefore the image is decoded with different bytes before the added marker. The
    results are equal only if all pixels have their data. A progressive JPEG must also have every scan.

    Raises:
        ValueError: the file ends before its image does.
    """
    missing: dict[int, list[int]] = {}  # for a progressive JPEG: component -> missing bits of each coefficient
    restarts = False
    for marker, body in _segments(content):
        if marker == ENDS:
            return content
        if marker in PROGRESSIVE:
            missing = {body[6 + 3 * index]: [1] * 64 for index in range(body[5])}
        elif marker == RESTART_INTERVAL:
            restarts = any(body)
        elif marker == SCAN and missing:
            first, last, approximation = body[1 + 2 * body[0] : 4 + 2 * body[0]]
            for component in body[1 : 1 + 2 * body[0] : 2]:
                missing[component][first : last + 1] = [approximation & 15] * (last + 1 - first)
    bare = content.removesuffix(END[:1])
    if any(map(any, missing.values())) or len({_pixels(bare + tail + END) for tail in _tails(bare, restarts)}) > 1:
        raise ValueError("the file ends before its image does")
    return bare + END


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield markers with their content, up to the end marker or the end of the file."""
    place = 2
    while (found := MARKER.search(content, place)) is not None:
        marker = found[1][0]
        if marker == ENDS:
            yield marker, b""
            return
        if found.end() + 2 > len(content):
            return
        (length,) = struct.unpack_from(">H", content, found.end())
        if found.end() + length > len(content):
            return
        yield marker, content[found.end() + 2 : found.end() + length]
        place = found.end() + length


def _tails(content: bytes, restarts: bool) -> list[bytes]:
    """Return substitutes for missing data: nothing, and two patterns, each also after the next restart markers."""
    markers: list[bytes] = []
    if restarts:
        found = RESTART.findall(content, content.rfind(bytes([0xFF, SCAN])))
        following = found[-1][1] + 1 if found else FIRST_RESTART
        markers = [bytes([0xFF, FIRST_RESTART + (following + number) % 8]) for number in range(8)]
    return [b"", *(b"".join([pattern, *(marker + pattern for marker in markers)]) for pattern in PATTERNS)]


def _pixels(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return image.tobytes()
