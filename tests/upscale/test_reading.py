"""Odd files: what another program opens is read rightly, and the rest is named for what it is."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from compsrt_plugin.data.formats.png import Chunk, with_chunks
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.image import DecodedImage
from compsrt_plugin.upscale.reading import decode_image
from compsrt_plugin.upscale.writing import encode_image

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pictures"
NOISE = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)


def saved(image: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


@pytest.fixture
def read(tmp_path: Path):
    def read_content(content: bytes, name: str = "p.png") -> DecodedImage:
        (tmp_path / name).write_bytes(content)
        return decode_image(tmp_path / name)

    return read_content


def test_damaged_exif_data_in_a_text_cost_themselves_alone():
    y, x = np.mgrid[0:40, 0:48]
    picture = decode_image(FIXTURES / "damaged_exif_text.png")
    np.testing.assert_array_equal(picture.colour, np.stack([5 * x, 6 * y, 2 * (x + y)], 2))
    assert picture.exif is None and picture.notes == ("EXIF data in its texts are damaged and left out",)


def test_damaged_exif_data_stay_in_a_jpeg_and_are_noted_for_a_tiff(tmp_path: Path):
    picture = decode_image(FIXTURES / "damaged_exif.jpg")
    assert picture.exif and picture.notes == ()
    (tmp_path / "p.tif").write_bytes(encode_image(picture, "TIFF"))
    np.testing.assert_array_equal(decode_image(tmp_path / "p.tif").colour, picture.colour)


def test_a_jpeg_without_its_end_marker_is_read_and_one_without_its_data_is_damaged(read):
    content = saved(Image.fromarray(NOISE), "JPEG")
    np.testing.assert_array_equal(read(content[:-2]).colour, read(content).colour)
    with pytest.raises(CompSRTError, match=r"is damaged .*copy it again from its source") as caught:
        read(content[:-40])
    assert "remove" not in str(caught.value)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_grey_that_is_marked_as_transparent_is_found_at_every_depth(read, bits: int):
    codes = np.arange(16).reshape(4, 4) % (1 << min(bits, 4))
    width = {1: 1, 2: 1, 4: 2, 8: 4, 16: 8}[bits]
    each = (codes[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(4, -1)
    rows = np.packbits(each, axis=1)[:, :width]
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">LLBBBBB", 4, 4, bits, 0, 0, 0, 0)
    chunks = [Chunk(b"IHDR", header), Chunk(b"tRNS", struct.pack(">H", 1)), Chunk(b"IDAT", zlib.compress(data))]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(c.encoded() for c in [*chunks, Chunk(b"IEND", b"")])
    picture = read(content)
    full = 255 if bits < 16 else 65535
    np.testing.assert_array_equal(picture.colour[..., 0], codes * full // ((1 << bits) - 1))
    np.testing.assert_array_equal(picture.alpha, np.where(codes == 1, 0, full))


def test_a_profile_or_text_larger_than_pillow_allows_is_no_damage(read):
    profile = bytes(1 << 21)
    content = saved(Image.fromarray(NOISE), "PNG", icc_profile=profile)
    content = with_chunks(content, [Chunk(b"tEXt", b"Comment\0" + b"x" * (1 << 21))])
    picture = read(content)
    np.testing.assert_array_equal(picture.colour, NOISE)
    assert picture.icc == profile


def test_exif_data_in_a_text_are_kept(read):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    data = exif.tobytes()
    text = b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(data), data.hex().encode())
    picture = read(with_chunks(saved(Image.fromarray(NOISE), "PNG"), [Chunk(b"tEXt", text)]))
    found = Image.Exif()
    found.load(picture.exif or b"")
    assert found[0x010F] == "Maker" and picture.notes == ()


def test_a_damaged_profile_is_noted(read):
    picture = read(with_chunks(saved(Image.fromarray(NOISE), "PNG"), [Chunk(b"iCCP", b"name\0\0nonsense")]))
    assert picture.icc is None and picture.notes == ("its colour profile is damaged and left out",)


def test_a_colour_chunk_of_the_wrong_length_is_noted(read):
    picture = read(with_chunks(saved(Image.fromarray(NOISE), "PNG"), [Chunk(b"gAMA", b"\0"), Chunk(b"sRGB", b"\0")]))
    assert [chunk.name for chunk in picture.colour_chunks] == [b"sRGB"] and len(picture.notes) == 1


def test_of_a_phones_jpeg_the_first_picture_counts(read):
    image = Image.fromarray(NOISE)
    content = saved(image, "MPO", save_all=True, append_images=[image.resize((4, 4))])
    assert read(content, "p.jpg").size == (9, 11)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("big", [False, True])
def test_what_a_tiffs_tags_tell_is_kept_whatever_its_samples(read, orientation: int, big: bool):
    samples = np.zeros((5, 7, 2), np.uint16)
    file = io.BytesIO()
    tags = [(274, "H", 1, orientation, True), (271, "s", 0, "Maker", True), (34675, "B", 4, b"icc!", True)]
    tifffile.imwrite(file, samples, photometric="minisblack", extrasamples=["unassalpha"], extratags=tags, bigtiff=big)
    picture = read(file.getvalue(), "p.tif")
    found = Image.Exif()
    found.load(picture.exif or b"")
    assert (found[274], found[271], picture.icc, picture.mode, picture.size) == (
        orientation,
        "Maker",
        b"icc!",
        "LA",
        (5, 7),
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (saved(Image.fromarray(NOISE), "GIF"), "is an image of the kind GIF; allowed: PNG, JPEG, WebP or TIFF"),
        (saved(Image.fromarray(NOISE), "BMP"), "is an image of the kind BMP"),
        (saved(Image.new("CMYK", (4, 4)), "JPEG"), "is CMYK"),
        (saved(Image.new("CMYK", (4, 4)), "TIFF"), "is CMYK"),
        (
            saved(Image.new("L", (4, 4)), "PNG", save_all=True, append_images=[Image.new("L", (4, 4), 9)]),
            "holds 2 images",
        ),
        (b"\x89PNG\r\n\x1a\n" + Chunk(b"CgBI", bytes(4)).encoded() + Chunk(b"IDAT", b"").encoded(), "Apple's variant"),
        (b"", r"is empty \(0 bytes\)"),
        (b"<!DOCTYPE html>", "is not an image; allowed: PNG, JPEG, WebP or TIFF"),
    ],
    ids=["gif", "bmp", "cmyk jpeg", "cmyk tiff", "animated png", "apple", "empty", "html"],
)
def test_what_is_not_handled_is_named_for_what_it_is_not_for_its_ending(read, content: bytes, says: str):
    with pytest.raises(CompSRTError, match=says) as caught:
        read(content)
    assert "damaged" not in str(caught.value) and "remove" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF"])
def test_no_change_of_a_byte_ends_in_another_error(read, kind: str):
    content = encode_image(DecodedImage(NOISE, None, b"profile", b"II*\0\x08\0\0\0\0\0\0\0\0\0"), kind)
    generator = np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(content)
        for place in generator.integers(0, len(content), 3):
            changed[place] = generator.integers(256)
        try:
            assert read(bytes(changed)).colour.ndim == 3
        except CompSRTError as error:
            assert "\n" not in str(error)
