"""Read and write the chunks of PNG files (W3C's third edition), with pixel data separate from metadata."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


@dataclass(frozen=True)
class Chunk:
    """A chunk.

    Attributes:
        name: four letters. The first is a capital if decoders must understand the chunk.
        data: its content.
    """

    name: bytes
    data: bytes

    @property
    def critical(self) -> bool:
        """Whether pixels depend on the chunk."""
        return self.name[:1].isupper()

    def encoded(self) -> bytes:
        """Return the chunk as bytes of a file."""
        checksum = zlib.crc32(self.name + self.data)
        return b"".join([struct.pack(">L", len(self.data)), self.name, self.data, struct.pack(">L", checksum)])


def chunks_of(content: bytes) -> list[Chunk]:
    """Return the chunks of a file, without damaged chunks that pixels do not depend on.

    The end chunk may be missing, because the pixel data show whether they are complete.

    Raises:
        ValueError: the file ends within the pixel data, or a chunk of pixel data is damaged.
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
    """Return a PNG file of the chunks with these names, in their order, with an end chunk."""
    wanted = set(names) - {b"IEND"}
    kept = [chunk.encoded() for chunk in chunks if chunk.name in wanted]
    return b"".join([SIGNATURE, *kept, Chunk(b"IEND", b"").encoded()])


def with_chunks(content: bytes, chunks: Iterable[Chunk]) -> bytes:
    """Return a PNG file with additional chunks directly after its header."""
    header = len(SIGNATURE) + 25
    return b"".join([content[:header], *(chunk.encoded() for chunk in chunks), content[header:]])


def frames_of(chunks: Iterable[Chunk]) -> int:
    """Return the number of images in a PNG: more than 1 if it is animated."""
    return next((struct.unpack(">L", c.data[:4])[0] for c in chunks if c.name == b"acTL" and len(c.data) == 8), 1)
