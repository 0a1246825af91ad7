"""What an image file holds is what comes back: samples of every kind, colour profile, EXIF."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from compsrt_plugin.data.formats.png import Chunk, chunks_of
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.exif import resized
from compsrt_plugin.upscale.image import DecodedImage
from compsrt_plugin.upscale.reading import decode_image
from compsrt_plugin.upscale.writing import check_fits, encode_image, fitted

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION, MAKE, EXIF, GPS, TAKEN, WIDTH, HEIGHT = 0x0112, 0x010F, 0x8769, 0x8825, 0x9003, 0xA002, 0xA003
SECOND = Image.new("L", (4, 4), 9)


def exif_data(width: int = 7, height: int = 5) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "Maker"
    exif.get_ifd(EXIF).update({TAKEN: "2020:01:01 00:00:00", WIDTH: width, HEIGHT: height})
    exif.get_ifd(GPS).update({1: "N"})
    return exif.tobytes()[6:]


def noise(mode: str, depth: int, size: tuple[int, int] = (300, 7)) -> DecodedImage:
    channels = 1 if mode.startswith("L") else 3
    dtype = np.uint8 if depth == 8 else np.uint16
    samples = np.random.default_rng(0).integers(0, 1 << depth, (*size, channels + 1), dtype)
    alpha = samples[..., -1] if mode.endswith("A") else None
    return DecodedImage(samples[..., :-1], alpha, ICC, exif_data())


def tags(exif: bytes | None) -> dict[int, object]:
    assert exif is not None
    found = Image.Exif()
    found.load(exif)
    return {**dict(found), **found.get_ifd(EXIF), **found.get_ifd(GPS)}


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize(
    ("name", "depth"), [("p.png", 8), ("p.png", 16), ("p.tif", 8), ("p.tif", 16), ("p.webp", 8), ("p.jpg", 8)]
)
def test_samples_profile_and_exif_come_back_from_every_format(tmp_path: Path, name: str, depth: int, mode: str):
    kind = {".png": "PNG", ".tif": "TIFF", ".webp": "WebP", ".jpg": "JPEG"}[Path(name).suffix]
    picture = noise(mode, depth)
    if kind == "JPEG" and picture.alpha is not None:
        pytest.skip("JPEG has no alpha")
    path = tmp_path / name
    path.write_bytes(encode_image(picture, kind))
    back = decode_image(path)
    if kind != "JPEG":
        # WebP has no grey, and of TIFFs in 16 bits Pillow opens no grey with alpha
        repeated = kind == "WebP" or (kind, depth, mode) == ("TIFF", 16, "LA")
        expected = picture.colour.repeat(3, 2) if repeated and mode[0] == "L" else picture.colour
        assert back.colour.dtype == picture.colour.dtype
        np.testing.assert_array_equal(back.colour, expected)
        np.testing.assert_array_equal(back.alpha, picture.alpha)
    assert back.icc == ICC
    kept = {ORIENTATION: 6, MAKE: "Maker", TAKEN: "2020:01:01 00:00:00", 1: "N"}
    assert {tag: tags(back.exif).get(tag) for tag in kept} == kept
    with Image.open(path) as image:  # others read it as well
        assert image.size == ((300, 7) if kind == "TIFF" else (7, 300)) and image.getexif()[ORIENTATION] == 6
        image.load()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_opencv_reads_our_16_bits(kind: str, mode: str):
    picture = noise(mode, 16)
    seen = cv2.imdecode(np.frombuffer(encode_image(picture, kind), np.uint8), cv2.IMREAD_UNCHANGED)
    ours = picture.samples()
    seen = np.rot90(seen, 1) if kind == "TIFF" else seen  # OpenCV turns a TIFF as its tag says
    ours = ours[..., 0] if mode == "L" else ours[..., [2, 1, 0, 3][: ours.shape[2]]]
    np.testing.assert_array_equal(seen, ours)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_of_others_are_read_whole(tmp_path: Path, suffix: str, channels: int):
    samples = np.random.default_rng(1).integers(0, 1 << 16, (9, 6, channels), np.uint16)
    path = tmp_path / f"p{suffix}"
    assert cv2.imwrite(str(path), samples)
    picture = decode_image(path)
    np.testing.assert_array_equal(picture.colour, samples[..., 2::-1] if channels > 1 else samples)
    assert (picture.alpha is not None) == (channels == 4)


@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_becomes_colour(tmp_path: Path, transparent: bool):
    image = Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5), "P")
    image.putpalette(list(range(60)))
    image.save(tmp_path / "p.png", **({"transparency": 3} if transparent else {}))
    picture = decode_image(tmp_path / "p.png")
    np.testing.assert_array_equal(picture.colour.reshape(-1), np.arange(60))
    if transparent:
        assert picture.alpha is not None and picture.alpha.reshape(-1).tolist() == [255] * 3 + [0] + [255] * 16
    else:
        assert picture.alpha is None


@pytest.mark.parametrize("depth", [8, 16])
def test_a_colour_marked_as_transparent_becomes_alpha(tmp_path: Path, depth: int):
    samples = np.zeros((2, 2, 3), np.uint8 if depth == 8 else np.uint16)
    samples[0, 0] = (1, 2, 3)
    content = encode_image(DecodedImage(samples), "PNG")
    key = b"tRNS" + struct.pack(">HHH", 1, 2, 3)
    place = content.index(b"IDAT") - 4
    content = content[:place] + struct.pack(">L", 6) + key + struct.pack(">L", zlib.crc32(key)) + content[place:]
    (tmp_path / "p.png").write_bytes(content)
    picture = decode_image(tmp_path / "p.png")
    top = (1 << depth) - 1
    assert picture.alpha is not None and picture.alpha.tolist() == [[0, top], [top, top]]
    assert picture.colour.shape == (2, 2, 3)


def test_black_and_white_becomes_grey(tmp_path: Path):
    Image.new("1", (3, 2), 1).save(tmp_path / "p.png")
    assert decode_image(tmp_path / "p.png").colour.tolist() == [[[255]] * 3] * 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF"])
def test_the_pixels_stay_as_they_lie_whatever_the_orientation(tmp_path: Path, kind: str):
    picture = noise("RGB", 8, (5, 7))
    (tmp_path / "p").write_bytes(encode_image(picture, kind))
    back = decode_image(tmp_path / "p")
    assert back.size == (5, 7) and tags(back.exif)[ORIENTATION] == 6


@pytest.mark.parametrize(("width", "kind"), [(28, "SHORT or LONG"), (70_000, "LONG, which a SHORT becomes")])
def test_the_size_in_exif_follows_and_nothing_else_changes(width: int, kind: str):
    before = exif_data()
    after = resized(before, 20, width)
    assert tags(after) == {**tags(before), WIDTH: width, HEIGHT: 20}
    assert len(after) == len(before) and sum(a != b for a, b in zip(after, before)) <= 8


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"nonsense", b"II*\0\xff\xff\xff\xff", exif_data()[:30]])
def test_damaged_exif_data_come_back_unchanged(exif: bytes):
    assert resized(exif, 1, 1) == exif


def write(image: Image.Image, path: Path, **how: object) -> Path:
    image.save(path, **how)
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: write(Image.new("CMYK", (4, 4)), p / "a.jpg"), "is CMYK"),
        (lambda p: write(Image.new("F", (4, 4)), p / "a.tif"), "has floating-point samples of 32 bits"),
        (lambda p: write(Image.new("I", (4, 4)), p / "a.tif"), "has signed integer samples of 32 bits"),
        (lambda p: write(Image.new("L", (4, 4)), p / "a.bmp"), "is an image of the kind BMP"),
        (
            lambda p: write(Image.new("L", (4, 4)), p / "a.webp", save_all=True, append_images=[SECOND]),
            "holds 2 images",
        ),
    ],
    ids=["cmyk", "float", "int32", "bmp", "animation"],
)
def test_what_is_not_handled_is_named(tmp_path: Path, make, says: str):
    with pytest.raises(CompSRTError, match=says):
        decode_image(make(tmp_path))


CHROMA = struct.pack(">8L", 31270, 32900, 73470, 26530, 11500, 82600, 15700, 1800)
CHUNKS = {
    b"gAMA": struct.pack(">L", 100_000),
    b"cHRM": CHROMA,
    b"sRGB": b"\0",
    b"cICP": bytes([12, 13, 0, 1]),
    b"mDCV": bytes(24),
    b"cLLI": bytes(8),
}


def tagged(names: Sequence[bytes], picture: DecodedImage) -> bytes:
    return encode_image(replace(picture, colour_chunks=tuple(Chunk(name, CHUNKS[name]) for name in names)), "PNG")


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_colour_chunks_stay_from_png_to_png(tmp_path: Path, depth: int, mode: str):
    content = tagged(list(CHUNKS), noise(mode, depth))
    (tmp_path / "p.png").write_bytes(content)
    picture = decode_image(tmp_path / "p.png")
    assert {chunk.name: chunk.data for chunk in picture.colour_chunks} == CHUNKS and picture.notes == ()
    again = [(chunk.name, chunk.data) for chunk in chunks_of(encode_image(picture, "PNG"))]
    assert all(again.count(item) == 1 for item in CHUNKS.items())
    names = [name for name, _ in again]
    assert max(map(names.index, CHUNKS)) < names.index(b"IDAT")
    with Image.open(io.BytesIO(content)) as seen:  # Pillow finds them where they belong
        assert seen.info["gamma"] == 1.0 and seen.info["srgb"] == 0 and len(seen.info["chromaticity"]) == 8


@pytest.mark.parametrize("kind", ["JPEG", "WebP", "TIFF"])
@pytest.mark.parametrize(("names", "grey"), [([b"gAMA", b"cHRM"], 188), ([b"sRGB", b"gAMA"], 128), ([b"cICP"], 128)])
def test_elsewhere_a_profile_says_what_colour_chunks_say(tmp_path: Path, kind: str, names: list[bytes], grey: int):
    (tmp_path / "p.png").write_bytes(tagged(names, DecodedImage(np.full((2, 2, 3), 128, np.uint8))))
    made = fitted(decode_image(tmp_path / "p.png"), kind)
    assert made.colour_chunks == () and made.notes == ()
    (tmp_path / "q").write_bytes(encode_image(made, kind))
    back = decode_image(tmp_path / "q")
    assert back.icc is not None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(back.icc))
    shown = ImageCms.profileToProfile(Image.new("RGB", (1, 1), (128,) * 3), profile, ImageCms.createProfile("sRGB"))
    assert shown is not None
    assert np.abs(np.asarray(shown)[0, 0].astype(int) - grey).max() <= 1


def test_a_profile_of_its_own_comes_before_colour_chunks(tmp_path: Path):
    (tmp_path / "p.png").write_bytes(tagged([b"gAMA", b"cICP"], replace(noise("RGB", 8), icc=ICC)))
    assert fitted(decode_image(tmp_path / "p.png"), "JPEG").icc == ICC


@pytest.mark.parametrize(
    "data", [bytes([9, 16, 0, 1]), bytes([9, 18, 0, 1]), bytes([1, 13, 1, 1]), bytes([1, 13, 0, 0])]
)
def test_colour_chunks_that_no_profile_can_say_are_noted(data: bytes):
    made = fitted(DecodedImage(np.zeros((2, 2, 3), np.uint8), colour_chunks=(Chunk(b"cICP", data),)), "TIFF")
    assert made.icc is None and len(made.notes) == 1
    assert "cICP left out, which --format png keeps" in made.notes[0]


def test_a_grey_picture_gets_a_profile_of_grey_or_of_colour_as_it_is_written():
    grey = DecodedImage(np.zeros((2, 2, 1), np.uint8), colour_chunks=(Chunk(b"gAMA", CHUNKS[b"gAMA"]),))
    spaces = {kind: (fitted(grey, kind).icc or b"")[16:20] for kind in ("JPEG", "TIFF", "WebP")}
    assert spaces == {"JPEG": b"GRAY", "TIFF": b"GRAY", "WebP": b"RGB "}


@pytest.mark.parametrize("exif", [b"II*\0", b"II*\0\xff\xff\xff\xff", b"nonsense", exif_data()[:30], b"\0" * 40])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF"])
def test_damaged_exif_data_never_cost_the_picture(tmp_path: Path, kind: str, exif: bytes):
    picture = replace(noise("RGB", 8), exif=exif)
    (tmp_path / "p").write_bytes(encode_image(picture, kind))
    back = decode_image(tmp_path / "p")
    assert back.size == picture.size
    if kind != "TIFF":  # of which the data become tags
        assert back.exif == exif
    assert len(fitted(picture, kind).notes) <= (kind == "TIFF")


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.webp", "p.tif"])
@pytest.mark.parametrize("depth", [8, 16])
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path: Path, name: str, depth: int):
    kind = {".png": "PNG", ".tif": "TIFF", ".webp": "WebP", ".jpg": "JPEG"}[Path(name).suffix]
    content = encode_image(DecodedImage(noise("RGB", depth).colour), kind)
    for length in (0, 10, len(content) // 2, len(content) - 40):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(CompSRTError, match=name):
            decode_image(tmp_path / name)


def test_16_bits_become_the_nearest_8_where_a_format_has_no_more():
    grey = np.array([[[0], [128], [129], [65535]]], np.uint16)
    back = Image.open(io.BytesIO(encode_image(DecodedImage(grey), "WebP")))
    assert np.asarray(back)[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize(("kind", "depth", "mode"), [("WebP", 8, "L"), ("TIFF", 16, "LA")])
def test_a_grey_profile_goes_where_grey_becomes_colour(kind: str, depth: int, mode: str):
    grey = replace(noise(mode, depth), icc=ICC[:16] + b"GRAY" + ICC[20:])
    assert not Image.open(io.BytesIO(encode_image(grey, kind))).info.get("icc_profile")


@pytest.mark.parametrize(
    ("kind", "height", "width", "alpha", "says"),
    [
        ("JPEG", 4, 4, True, "JPEG has no alpha"),
        ("WebP", 4, 16_384, False, "too large for WebP; allowed: sides of at most 16383"),
        ("JPEG", 65_501, 4, False, "too large for JPEG"),
        ("TIFF", 40_000, 40_000, False, "too large for TIFF"),
    ],
)
def test_what_a_format_cannot_hold_is_found_before_it_is_made(kind, height, width, alpha, says):
    with pytest.raises(CompSRTError, match=says):
        check_fits(kind, height, width, alpha, 3 * height * width)
    check_fits("PNG", height, width, alpha, 3 * height * width)
