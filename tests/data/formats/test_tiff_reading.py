"""A TIFF gives the samples that its tags describe, however they are stored; what is not handled is named."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from compsrt_plugin.data.formats.tiff import TiffImage, read_tiff, turned
from compsrt_plugin.errors import CompSRTError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "pictures"
HEIGHT, WIDTH = 21, 37
SAMPLES = {"minisblack": 1, "miniswhite": 1, "rgb": 3}
WITH_DIFFERENCES = ("zlib", "lzma")


def written(samples: np.ndarray, **how: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **{"metadata": None, **how})
    return file.getvalue()


def read(content: bytes) -> TiffImage:
    return read_tiff(content, Path("p.tif"))


def noise(dtype: type, samples: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, samples), dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", SAMPLES)
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_way_to_store_samples_gives_the_same(dtype, photometric: str, alpha: bool, planar: str, order: str):
    whole = noise(dtype, SAMPLES[photometric] + alpha)
    how = {"photometric": photometric, "byteorder": order, "extrasamples": ["unassalpha"] if alpha else None}
    stored = whole if planar == "contig" else np.moveaxis(whole, 2, 0)
    if whole.shape[2] == 1:
        stored = whole[..., 0]
    else:
        how["planarconfig"] = planar
    colour = whole[..., : SAMPLES[photometric]]
    expected = np.iinfo(dtype).max - colour if photometric == "miniswhite" else colour
    for compression in (None, *WITH_DIFFERENCES):
        for tile in (None, (16, 32)):
            for predictor in {False, compression in WITH_DIFFERENCES}:
                for big in {False, compression is None and tile is None}:
                    content = written(
                        stored,
                        compression=compression,
                        tile=tile,
                        predictor=predictor,
                        bigtiff=big,
                        rowsperstrip=None if tile else 5,
                        **how,
                    )
                    made = read(content)
                    np.testing.assert_array_equal(made.colour, expected)
                    if alpha:
                        np.testing.assert_array_equal(made.alpha, whole[..., -1])
                    else:
                        assert made.alpha is None
                    assert made.notes == ()


def packed(pieces: Sequence[bytes], tags: dict[int, tuple[int, Sequence[int]]]) -> bytes:
    """Return a TIFF in little endian of these strips, with the tags given (type 3 or 4)."""
    body = b"".join(pieces)
    offsets = [8 + sum(map(len, pieces[:index])) for index in range(len(pieces))]
    entries = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 273: (4, offsets), 279: (4, list(map(len, pieces))), **tags}
    at = 8 + len(body)
    table, more = b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        data = struct.pack("<" + "HL"[kind - 3] * len(values), *values)
        if len(data) > 4:
            data, more = struct.pack("<L", at + 6 + 12 * len(entries) + len(more)), more + data
        table += struct.pack("<HHL", tag, kind, len(values)) + data.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<L", at) + body + struct.pack("<H", len(entries)) + table + bytes(4) + more


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "zstd", "lzma", "tiff_adobe_deflate", "tiff_deflate"])
def test_colour_of_16_bits_is_read_from_every_lossless_compression(compression: str):
    whole = noise(np.uint16, 3)
    file = io.BytesIO()  # the bytes of the samples as grey pixels: libtiff packs them for us
    Image.fromarray(whole.view(np.uint8).reshape(HEIGHT, -1)).save(file, "TIFF", compression=compression)
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tiff:
        page = tiff.pages.first
        pieces = [file.getvalue()[at : at + n] for at, n in zip(page.dataoffsets, page.databytecounts)]
        rows = page.tags.valueof(278)
    kind = {258: (3, [16] * 3), 259: (3, [int(page.compression)]), 262: (3, [2]), 277: (3, [3]), 278: (4, [rows])}
    np.testing.assert_array_equal(read(packed(pieces, kind)).colour, whole)


def test_zstd_of_another_program_with_differences():
    y, x = np.mgrid[0:40, 0:48]
    expected = np.stack([5 * x, 6 * y, 2 * (x + y)], 2) * 257
    np.testing.assert_array_equal(read((FIXTURES / "zstd16.tif").read_bytes()).colour, expected)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 9, 10, 12, 14, 15])
@pytest.mark.parametrize("samples", [1, 3])
def test_other_depths_are_spread_over_8_or_16_bits(bits: int, samples: int):
    top, full = (1 << bits) - 1, 255 if bits < 8 else 65535
    codes = np.random.default_rng(0).integers(0, top, (HEIGHT, WIDTH * samples), np.uint16, endpoint=True)
    each = (codes[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(HEIGHT, -1)
    tags = {258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [1 if samples == 1 else 2]), 277: (3, [samples])}
    made = read(packed([np.packbits(each, axis=1).tobytes()], tags)).colour
    assert made.dtype == (np.uint8 if bits < 8 else np.uint16)
    np.testing.assert_array_equal(made.reshape(HEIGHT, -1), np.round(codes / top * full))


def test_bits_in_the_other_order_are_turned():
    whole = noise(np.uint16, 1)
    mirrored = np.packbits(np.unpackbits(whole.view(np.uint8).ravel()).reshape(-1, 8)[:, ::-1])
    tags = {258: (3, [16]), 259: (3, [1]), 262: (3, [1]), 266: (3, [2]), 277: (3, [1])}
    np.testing.assert_array_equal(read(packed([mirrored.tobytes()], tags)).colour, whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
@pytest.mark.parametrize("planar", [False, True])
def test_colour_multiplied_by_alpha_is_divided_again(dtype, photometric: str, planar: bool):
    full = np.iinfo(dtype).max
    straight = noise(dtype, SAMPLES[photometric]).astype(np.uint64)
    alpha = noise(dtype, 4)[..., 3:].astype(np.uint64)
    alpha[0, 0], alpha[0, 1] = 0, full
    stored = np.dstack([(straight * alpha + full // 2) // full, alpha]).astype(dtype)
    how = {"planarconfig": "separate"} if planar else {}
    stored = np.moveaxis(stored, 2, 0) if planar else stored
    made = read(written(stored, photometric=photometric, extrasamples=["assocalpha"], **how))
    np.testing.assert_array_equal(made.alpha, alpha[..., 0])
    error = np.abs(made.colour.astype(np.int64) - straight.astype(np.int64))
    allowed = full / np.maximum(alpha.astype(np.float64), 1) / 2 + 1  # half a step of what was stored
    assert (error[alpha[..., 0] > 0] <= allowed[alpha[..., 0] > 0]).all()
    assert (made.colour[0, 0] == 0).all() and (made.colour[0, 1] == straight[0, 1]).all()


def test_alpha_is_found_among_other_samples_which_are_noted():
    whole = noise(np.uint16, 6)
    made = read(written(whole, photometric="rgb", extrasamples=["unspecified", "unassalpha", "unspecified"]))
    np.testing.assert_array_equal(made.alpha, whole[..., 4])
    assert made.notes == ("2 samples besides colour and alpha, without a stated meaning, left out",)
    made = read(written(whole[..., :4], photometric="rgb", extrasamples=["unspecified"]))
    assert made.alpha is None and made.notes == ("1 sample besides colour, without a stated meaning, left out",)


@pytest.mark.parametrize("factor", [257, 256, 1])
def test_a_palette_of_16_or_8_bits_becomes_colour(factor: int):
    table = np.random.default_rng(0).integers(0, 256, (3, 256), np.uint16)
    table[0, 0] = 255
    indices = noise(np.uint8, 1)[..., 0]
    made = read(written(indices, photometric="palette", colormap=(table * factor).astype(np.uint16)))
    np.testing.assert_array_equal(made.colour, table.T[indices])
    assert made.colour.dtype == np.uint8


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_small_palette_becomes_colour(bits: int):
    image = Image.fromarray(noise(np.uint8, 1)[..., 0] & ((1 << bits) - 1), "P")
    image.putpalette(list(range(0, 3 << bits)))
    codes = np.asarray(image)
    each = (codes[..., None] >> np.arange(bits)[::-1] & 1).reshape(HEIGHT, -1)
    table = [value * 257 for channel in range(3) for value in range(channel, 3 << bits, 3)]
    tags = {258: (3, [bits]), 259: (3, [1]), 262: (3, [3]), 277: (3, [1]), 320: (3, table)}
    made = read(packed([np.packbits(each, axis=1).tobytes()], tags)).colour
    np.testing.assert_array_equal(made, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("mode", "compression"), [("1", "group4"), ("1", "group3"), ("RGB", "jpeg"), ("L", "jpeg")])
def test_what_is_compressed_as_a_picture_is_as_pillow_reads_it(mode: str, compression: str):
    image = Image.fromarray(noise(np.uint8, 3)).convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF", compression=compression, tiffinfo={274: 6})
    with Image.open(io.BytesIO(file.getvalue())) as seen:
        seen.load()
        expected = np.rot90(np.asarray(seen.convert("L") if mode == "1" else seen), 1)  # Pillow turned it
    made = read(file.getvalue())
    np.testing.assert_array_equal(made.colour.squeeze(), expected)
    assert made.orientation == 6


def pages(*sizes: tuple[int, int], **how: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for index, size in enumerate(sizes):
            options = {key: values[index] for key, values in how.items()}
            writer.write(np.full(size, 10 * (index + 1), np.uint8), metadata=None, **options)
    return file.getvalue()


def test_a_thumbnail_is_passed_over_wherever_it_stands():
    for flags, number in (((0, 1), 10), ((1, 0), 20), ((0, 1, 1), 10), ((1,), 10)):
        sizes = [(40, 60) if not flag else (10, 15) for flag in flags]
        made = read(pages(*sizes, subfiletype=flags))
        assert made.colour[0, 0, 0] == number and made.notes == ()
    with_inner = pages((10, 15), (40, 60), subfiletype=(1, 0), subifds=(1, 0))
    assert read(with_inner).colour.shape == (40, 60, 1)


def test_a_smaller_version_without_a_flag_is_noted():
    made = read(pages((400, 600), (100, 150)))
    assert made.colour.shape == (400, 600, 1)
    assert made.notes == ("its second image, 150 x 100 pixels, is taken for a thumbnail and left out",)


@pytest.mark.parametrize("sizes", [((40, 60),) * 2, ((400, 600), (100, 160)), ((40, 60), (30, 45)), ((40, 60),) * 3])
def test_several_pictures_are_refused_with_their_number(sizes):
    with pytest.raises(CompSRTError, match=f"p.tif holds {len(sizes)} images"):
        read(pages(*sizes))


@pytest.mark.parametrize(
    ("samples", "how", "says"),
    [
        (np.zeros((4, 4), np.float32), {}, "has floating-point samples of 32 bits"),
        (np.zeros((4, 4), np.float16), {}, "has floating-point samples of 16 bits"),
        (np.zeros((4, 4), np.int8), {}, "has signed integer samples of 8 bits"),
        (np.zeros((4, 4), np.int16), {}, "has signed integer samples of 16 bits"),
        (np.zeros((4, 4), np.uint32), {}, "has 32 bits per sample"),
        (np.zeros((4, 4, 4), np.uint8), {"photometric": "separated"}, "is CMYK"),
        (np.zeros((4, 4, 4), np.uint16), {"photometric": "separated"}, "is CMYK"),
        (np.zeros((4, 4, 3), np.uint8), {"photometric": "cielab"}, r"is CIE L\*a\*b\*"),
        (np.zeros((4, 4, 3), np.uint8), {"photometric": "ycbcr"}, "is YCbCr"),
        (np.zeros((4, 4), np.uint16), {"photometric": "cfa"}, "is a camera's raw data"),
    ],
)
def test_what_is_not_handled_is_named_and_never_called_damaged(samples: np.ndarray, how: dict[str, Any], says: str):
    with pytest.raises(CompSRTError, match=f"p.tif {says}; allowed: .*convert it first"):
        read(written(samples, **how))


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({258: (3, [5, 6, 5]), 262: (3, [2]), 277: (3, [3])}, "samples of different depths, 5, 6, 5 bits"),
        ({258: (3, [12]), 259: (3, [7]), 262: (3, [1])}, "12 bits per sample, compressed by JPEG"),
        ({258: (3, [8]), 259: (3, [34887]), 262: (3, [1])}, "is compressed by LERC"),
        ({258: (3, [8]), 259: (3, [777]), 262: (3, [1])}, "is compressed by number 777"),
        ({258: (3, [8]), 259: (3, [8]), 262: (3, [1]), 317: (3, [3])}, "has predictor 3 at 8 bits"),
        ({258: (3, [8] * 4), 259: (3, [7]), 262: (3, [2]), 277: (3, [4])}, "has 4 samples per pixel, compressed"),
        ({258: (3, [16]), 262: (3, [3]), 277: (3, [1])}, "has 16 bits per sample in a palette"),
        ({254: (4, [4]), 258: (3, [1]), 262: (3, [4])}, "has a transparency mask"),
        ({258: (3, [8]), 262: (3, [99])}, "is of photometric interpretation 99"),
    ],
)
def test_rare_layouts_are_named(tags: dict[int, tuple[int, Sequence[int]]], says: str):
    with pytest.raises(CompSRTError, match=says):
        read(packed([b"\0" * 9999], tags))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_cut_short_is_no_picture(compression: str | None):
    content = written(noise(np.uint16, 3), photometric="rgb", compression=compression, planarconfig="contig")
    for length in (20, len(content) // 2, len(content) - 20):
        with pytest.raises((ValueError, OSError)):
            read(content[:length])


def test_each_orientation_turns_as_pillow_does():
    samples = noise(np.uint8, 3)
    for orientation in range(1, 9):
        file = io.BytesIO()
        Image.fromarray(samples).save(file, "TIFF", tiffinfo={274: orientation})
        with Image.open(file) as seen:
            seen.load()
            np.testing.assert_array_equal(turned(samples, orientation), np.asarray(seen))
