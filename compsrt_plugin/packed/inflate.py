"""Decompress text from an untrusted source, within a bound."""

from __future__ import annotations

import zlib


def inflate(data: bytes, most: int, what: str) -> str:
    """Return the text that `zlib.compress` made `data` from.

    Args:
        data: the compressed text.
        most: the largest number of bytes that the text may have.
        what: subject of the message, such as "its table".

    Raises:
        ValueError: the data are not one whole stream of UTF-8 text, or the text is longer.

    >>> inflate(zlib.compress(b"a text"), 100, "it")
    'a text'
    """
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, most)
    except zlib.error:
        raise ValueError(f"{what} cannot be decompressed") from None
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"{what} is cut off, followed by something, or larger than {most:,} bytes")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{what} is not text") from None
