from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.report import CaptionedImage, Crop, draw_comparison, save_comparison
from compsrt_plugin.report.comparison_image import MAX_WIDTH

COLOURS = {"red": (0, 0, 200), "green": (0, 200, 0), "blue": (200, 0, 0)}  # blue-green-red, as OpenCV has it


def flat(colour, height=120, width=160):
    return np.full((height, width, 3), COLOURS[colour], np.uint8)


def where(picture, colour):
    """Rows and columns of the image's pixels that have exactly this colour."""
    return np.nonzero((np.asarray(picture) == COLOURS[colour][::-1]).all(axis=2))


def test_every_panel_is_enlarged_to_about_320_pixels_without_smoothing():
    stripes = flat("red")
    stripes[:, ::2] = COLOURS["blue"]

    picture = draw_comparison(
        [CaptionedImage("stripes", stripes), CaptionedImage("original", flat("green"))], Crop(40, 20, 80, 80)
    )

    rows, columns = where(picture, "red")
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (320, 316)
    assert len(rows) == 320 * 160


def test_the_whole_original_stands_at_the_left_of_the_crops():
    picture = draw_comparison([CaptionedImage("bicubic", flat("red")), CaptionedImage("original", flat("green"))])

    assert where(picture, "green")[1].min() < where(picture, "red")[1].min()
    assert where(picture, "green")[1].max() > where(picture, "red")[1].max()


def test_the_frame_surrounds_the_crop_in_the_overview():
    original = flat("green")
    crop = Crop(60, 40, 40, 40)
    crop.of(original)[:] = COLOURS["blue"]

    picture = draw_comparison([CaptionedImage("bicubic", flat("red")), CaptionedImage("original", original)], crop)

    pixels = np.asarray(picture)
    yellow = np.nonzero((pixels == (0xFF, 0xD6, 0x0A)).all(axis=2))
    rows, columns = where(picture, "blue")
    overview = columns < where(picture, "red")[1].min()
    rows, columns = rows[overview], columns[overview]
    assert yellow[0].min() < rows.min() and rows.max() < yellow[0].max()
    assert yellow[1].min() < columns.min() and columns.max() < yellow[1].max()


def test_colours_come_out_as_they_were():
    picture = draw_comparison([CaptionedImage("bicubic", flat("red")), CaptionedImage("original", flat("red"))])

    assert picture.mode == "RGB"
    assert len(where(picture, "red")[0]) > 300 * 300


@pytest.mark.parametrize("count", [2, 3, 4, 6])
@pytest.mark.parametrize("shape", [(300, 448), (481, 321), (60, 2000), (2000, 60), (40, 48), (1, 1), (450, 650)])
def test_no_picture_is_wider_than_the_page(shape, count):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)

    picture = draw_comparison([CaptionedImage("a method", image, "30.00 dB")] * count, title="a title")

    assert 300 < picture.width <= MAX_WIDTH
    assert picture.height < 1100


@pytest.mark.parametrize("words", [("", ""), ("a name far longer than its panel " * 4, "31.90 dB, 612 kB " * 9)])
def test_captions_never_reach_into_the_next_panel(words):
    name, detail = words
    plain = draw_comparison([CaptionedImage("", flat("red")), CaptionedImage("", flat("green"))], Crop(0, 0, 80, 80))
    captioned = draw_comparison(
        [CaptionedImage(name, flat("red"), detail), CaptionedImage("", flat("green"))], Crop(0, 0, 80, 80)
    )

    changed = np.nonzero((np.asarray(plain) != np.asarray(captioned)).any(axis=2))
    red = where(plain, "red")[1]
    if name:
        assert red.min() <= changed[1].min() and changed[1].max() <= red.max()
        assert changed[0].max() < plain.height - 10
    else:
        assert changed[0].size == 0


def test_a_crop_is_chosen_where_none_is_given(photograph, blurred):
    panels = [CaptionedImage("bicubic", blurred), CaptionedImage("original", photograph)]

    assert draw_comparison(panels).tobytes() == draw_comparison(panels).tobytes()


def test_the_saved_file_is_a_png_that_shows_the_picture(tmp_path):
    panels = [CaptionedImage("bicubic", flat("red")), CaptionedImage("original", flat("green"))]

    save_comparison(tmp_path / "demo" / "cat.png", panels, title="cat")

    with Image.open(tmp_path / "demo" / "cat.png") as saved:
        assert saved.format == "PNG"
        assert saved.tobytes() == draw_comparison(panels, title="cat").tobytes()
    assert os.listdir(tmp_path / "demo") == ["cat.png"]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    panels = [CaptionedImage("bicubic", flat("red")), CaptionedImage("original", flat("green"))]

    with pytest.raises(CompSRTError, match=r"cannot write .*cat\.png"):
        save_comparison(tmp_path / "file" / "cat.png", panels)


@pytest.mark.parametrize(
    ("images", "crop", "message"),
    [
        ([flat("red")], None, "1 panels"),
        ([flat("red")] * 7, None, "7 panels"),
        ([flat("red"), flat("red", 119)], None, r"is \(119, 160, 3\)"),
        ([flat("red") / 255.0] * 2, None, "float64"),
        ([flat("red")[..., 0]] * 2, None, r"not uint8 \(height, width, 3\)"),
        ([flat("red")[:0]] * 2, None, "not uint8"),
        ([flat("red")] * 2, Crop(100, 0, 80, 80), "reaches beyond"),
        ([flat("red")] * 2, Crop(0, 0, 0, 80), "reaches beyond"),
    ],
)
def test_panels_that_cannot_be_compared_are_refused(images, crop, message):
    with pytest.raises(ValueError, match=message):
        draw_comparison([CaptionedImage("panel", image) for image in images], crop)
