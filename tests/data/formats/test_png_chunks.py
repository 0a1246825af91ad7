"""Chunks on which pixels depend must be sound; damage in others costs themselves alone."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from compsrt_plugin.data.formats.png import PIXEL_CHUNKS, Chunk, assembled, chunks_of, frames_of, with_chunks

SAMPLES = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)


@pytest.fixture
def content() -> bytes:
    file = io.BytesIO()
    Image.fromarray(SAMPLES).save(file, "PNG")
    return file.getvalue()


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(assembled(chunks_of(content), PIXEL_CHUNKS))) as image:
        return np.asarray(image)


def test_a_file_is_taken_apart_and_put_together(content: bytes):
    chunks = chunks_of(content)
    assert [chunk.name for chunk in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    assert assembled(chunks, PIXEL_CHUNKS) == content
    more = with_chunks(content, [Chunk(b"gAMA", bytes(4))])
    assert [chunk.name for chunk in chunks_of(more)] == [b"IHDR", b"gAMA", b"IDAT", b"IEND"]


@pytest.mark.parametrize("lost", [1, 4, 12])
def test_a_missing_end_does_not_matter(content: bytes, lost: int):
    np.testing.assert_array_equal(pixels(content[:-lost]), SAMPLES)


def test_what_follows_the_end_does_not_matter(content: bytes):
    np.testing.assert_array_equal(pixels(content + b"more"), SAMPLES)


def test_a_damaged_chunk_beside_the_pixels_is_passed_over(content: bytes):
    wrong = bytearray(with_chunks(content, [Chunk(b"tEXt", b"Comment\0text")]))
    wrong[45] ^= 1
    assert [chunk.name for chunk in chunks_of(bytes(wrong))] == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT", b"PLTE", b"tRNS"])
def test_a_damaged_chunk_of_the_pixels_is_named(content: bytes, name: bytes):
    wrong = bytearray(with_chunks(content, [Chunk(b"PLTE", bytes(6)), Chunk(b"tRNS", bytes(6))]))
    wrong[wrong.index(name) + 5] ^= 1
    with pytest.raises(ValueError, match=f"the checksum of its {name.decode()} chunk is wrong"):
        chunks_of(bytes(wrong))


@pytest.mark.parametrize("kept", [8, 12, 33, 40, -20])
def test_a_file_that_ends_in_its_pixels_is_found(content: bytes, kept: int):
    with pytest.raises(ValueError, match="the file ends before its image does"):
        chunks_of(content[:kept])


def test_frames_are_counted(content: bytes):
    assert frames_of(chunks_of(content)) == 1
    animated = with_chunks(content, [Chunk(b"acTL", struct.pack(">LL", 7, 0))])
    assert frames_of(chunks_of(animated)) == 7


def test_a_chunk_is_written_with_its_checksum():
    assert Chunk(b"abCd", b"xy").encoded() == b"\0\0\0\2abCdxy" + struct.pack(">L", zlib.crc32(b"abCdxy"))
