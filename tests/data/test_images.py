from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from sample_pictures import random_picture, save

from compsrt_plugin.data.images import image_size, images_in, read_image, write_image
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import UnwritableError

PICTURE = random_picture(20, 30)
KINDS = {
    "colour.png": PICTURE,
    "grey.png": PICTURE[..., 0],
    "alpha.png": np.dstack([PICTURE, PICTURE[..., 0]]),
    "deep.png": PICTURE.astype(np.uint16) * 257,
    "deep_grey.png": PICTURE[..., 0].astype(np.uint16) * 257,
    "deep.tiff": PICTURE.astype(np.uint16) * 257,
    "colour.jpg": PICTURE,
    "colour.bmp": PICTURE,
    "colour.webp": PICTURE,
    "colour.ppm": PICTURE,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_as_basicsr_reads_it(tmp_path, name):
    from basicsr.utils import imfrombytes

    path = save(tmp_path / name, KINDS[name])
    image = read_image(path)
    assert image.dtype == np.uint8
    assert np.array_equal(image, imfrombytes(path.read_bytes()))
    assert image_size(path) == image.shape[:2] == (20, 30)


def test_grey_becomes_three_equal_channels_and_alpha_is_dropped(tmp_path):
    grey = read_image(save(tmp_path / "grey.png", KINDS["grey.png"]))
    alpha = read_image(save(tmp_path / "alpha.png", KINDS["alpha.png"]))
    assert all(np.array_equal(grey[..., c], PICTURE[..., 0]) for c in range(3))
    assert np.array_equal(alpha, PICTURE)


def test_an_exif_orientation_turns_size_and_picture_alike(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PICTURE).save(path, exif=exif)
    assert image_size(path) == read_image(path).shape[:2] == (30, 20)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the TIFF
@pytest.mark.parametrize("name", ["colour.png", "colour.jpg", "colour.bmp", "colour.webp", "colour.ppm", "deep.tiff"])
@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_a_picture_cut_short_is_an_error_that_names_it(tmp_path, name, kept):
    path = save(tmp_path / name, random_picture(60, 60) if "deep" not in name else KINDS[name])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CompSRTError, match=f"{name}.* is (damaged|not an image)"):
        read_image(path)


def test_a_flipped_bit_in_a_png_is_found(tmp_path):
    path = save(tmp_path / "p.png", PICTURE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(CompSRTError, match=r"p\.png is damaged"):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, image_size])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"p\.png is empty \(0 bytes\)"),
        (b"<!DOCTYPE html><html>404</html>", r"p\.png is not an image; allowed: .*PNG"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, r"p\.png is (damaged|not an image)"),
    ],
)
def test_what_is_no_picture_is_named_in_one_line(tmp_path, read, content, said):
    path = tmp_path / "p.png"
    path.write_bytes(content)
    with pytest.raises(CompSRTError, match=said) as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [read_image, image_size])
def test_a_missing_file_or_a_folder_is_named(tmp_path, read):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(CompSRTError, match=f"cannot read the image {path}"):
            read(path)


def tiff(path, samples, **how):
    tifffile.imwrite(path, samples, **how)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_is_read_where_opencv_shows_what_its_tags_say(tmp_path, orientation, dtype):
    samples = (PICTURE.astype(np.uint16) * (1 if dtype == np.uint8 else 257)).astype(dtype)
    tags = [(274, "H", 1, orientation, True)]
    path = tiff(tmp_path / "p.tif", samples, photometric="rgb", extratags=tags)
    assert image_size(path) == read_image(path).shape[:2] == ((20, 30) if orientation < 5 else (30, 20))


def test_a_tiff_that_opencv_shows_wrongly_is_refused(tmp_path):
    whole = np.dstack([PICTURE, np.full((20, 30), 128, np.uint8)])
    path = tiff(tmp_path / "p.tif", whole, photometric="rgb", extrasamples=["unassalpha"])
    with pytest.raises(CompSRTError, match=r"p\.tif is a TIFF that OpenCV.* decodes differently .*convert it to PNG"):
        read_image(path)


def test_a_tiff_that_opencv_cannot_decode_is_not_called_damaged(tmp_path, capfd):
    path = tiff(tmp_path / "p.tif", PICTURE.astype(np.uint16), photometric="rgb", compression="lzma")
    with pytest.raises(CompSRTError, match=r"p\.tif is a TIFF that OpenCV.* cannot decode; convert it to an 8-bit PNG"):
        read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("read", [read_image, image_size])
def test_damage_beside_the_pixels_does_not_matter(tmp_path, read):
    path = tmp_path / "p.jpg"
    content = save(path, PICTURE).read_bytes()
    size = read(path) if read is image_size else read(path).shape[:2]
    for changed in (content[:-2], content[:2] + b"\xff\xe1\0\x10Exif\0\0II*\0\xff\xff\xff\xff" + content[2:]):
        path.write_bytes(changed)
        assert (read(path) if read is image_size else read(path).shape[:2]) == size


@pytest.mark.parametrize("read", [read_image, image_size])
def test_a_pipe_is_named_instead_of_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "p.png")
    with pytest.raises(CompSRTError, match=r"p\.png: it is not a regular file"):
        read(tmp_path / "p.png")


def test_no_picture_is_advised_to_be_removed(tmp_path):
    for number, content in enumerate((b"", b"GIF89a", b"<html>", save(tmp_path / "a.png", PICTURE).read_bytes()[:99])):
        path = tmp_path / f"{number}.png"
        path.write_bytes(content)
        with pytest.raises(CompSRTError) as caught:
            read_image(path)
        assert "remove" not in str(caught.value)


def test_pictures_in_lists_pictures_only_sorted(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in images_in(tmp_path)] == ["a.jpg", "b.PNG"]


def test_a_folder_without_pictures_or_none_at_all_is_an_error(tmp_path):
    with pytest.raises(CompSRTError, match="no images in"):
        images_in(tmp_path)
    with pytest.raises(CompSRTError, match="cannot read the image folder"):
        images_in(tmp_path / "none")


def test_a_written_picture_is_read_back_equal_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "new" / "p.png"
    length = write_image(path, PICTURE)
    assert np.array_equal(cv2.imread(str(path)), PICTURE)
    assert path.stat().st_size == length
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_picture_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "p.png"
    write_image(path, PICTURE)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("compsrt_plugin.files.os.replace", full)
    with pytest.raises(UnwritableError, match=r"cannot write .*p\.png: No space left on device"):
        write_image(path, PICTURE[:10])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
