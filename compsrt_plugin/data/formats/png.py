"""The chunks of a PNG file (W3C's third edition): what decides about its pixels apart from what goes with them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


@dataclass(frozen=True)
class Chunk:
    """One chunk.

    Attributes:
        name: four letters; the first is a capital where no decoder may pass over the chunk.
        data: what it holds.
    """

    name: bytes
    data: bytes

    @property
    def critical(self) -> bool:
        """Whether pixels depend on it."""
        return self.name[:1].isupper()

    def encoded(self) -> bytes:
        """Return it as it stands in a file."""
        checksum = zlib.crc32(self.name + self.data)
        return b"".join([struct.pack(">L", len(self.data)), self.name, self.data, struct.pack(">L", checksum)])


def chunks_of(content: bytes) -> list[Chunk]:
    """Return the chunks of a file, without those that are damaged and that pixels do not depend on.

    The end chunk may be missing: whether the pixels are whole their own data tell.

    Raises:
        ValueError: the file ends within the pixels' data, or a chunk of theirs is damaged.
    """
    return list(_walk(content))


def _walk(content: bytes) -> Iterator[Chunk]:
    place, pixels = len(SIGNATURE), False
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">L4s", content, place)
        data = content[place + 8 : place + 8 + length]
        end = place + 12 + length
        chunk = Chunk(name, data)
        decides = chunk.critical or name == b"tRNS"
        if end > len(content):
            if decides and name != b"IEND":
                raise ValueError("the file ends before its image does")
            return
        sound = content[end - 4 : end] == struct.pack(">L", zlib.crc32(data, zlib.crc32(name)))
        if not sound and decides and name != b"IEND":
            raise ValueError(f"the checksum of its {name.decode('latin-1')} chunk is wrong")
        if sound:
            pixels = pixels or name == b"IDAT"
            yield chunk
        if name == b"IEND":
            return
        place = end
    if not pixels:
        raise ValueError("the file ends before its image does")


def assembled(chunks: Iterable[Chunk], names: Iterable[bytes]) -> bytes:
    """Return a PNG file of those chunks alone that have one of the names, in their order, with an end."""
    wanted = set(names) - {b"IEND"}
    kept = [chunk.encoded() for chunk in chunks if chunk.name in wanted]
    return b"".join([SIGNATURE, *kept, Chunk(b"IEND", b"").encoded()])


def with_chunks(content: bytes, chunks: Iterable[Chunk]) -> bytes:
    """Return a PNG file with more chunks, right behind its header."""
    header = len(SIGNATURE) + 25
    return b"".join([content[:header], *(chunk.encoded() for chunk in chunks), content[header:]])


def frames_of(chunks: Iterable[Chunk]) -> int:
    """Return how many images an animated PNG holds; 1 of any other."""
    return next((struct.unpack(">L", c.data[:4])[0] for c in chunks if c.name == b"acTL" and len(c.data) == 8), 1)
