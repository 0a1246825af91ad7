from __future__ import annotations

import numpy as np
import pytest

from compsrt_plugin.report import Crop, choose_crop
from compsrt_plugin.report.crop import differing_crop

GREY = np.full((240, 320, 3), 128, np.uint8)


def checkers(height, width, cell):
    """A board of black and white cells."""
    rows, columns = np.indices((height, width)) // cell
    return np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


def softened(picture):
    """Half the contrast: structure is kept, and differs from the original."""
    return (picture // 2 + 64).astype(np.uint8)


def test_the_eye_is_chosen_and_not_the_fur_around_it(photograph, blurred):
    box = choose_crop(photograph, blurred)

    assert abs(box.left + box.width / 2 - 155) < 25
    assert abs(box.top + box.height / 2 - 118) < 25


def test_the_same_pictures_give_the_same_box(photograph, blurred):
    assert choose_crop(photograph, blurred) == choose_crop(photograph.copy(), blurred.copy())


def test_structure_is_framed_in_the_middle():
    original = GREY.copy()
    original[100:140, 200:240] = checkers(40, 40, 5)

    assert choose_crop(original, softened(original)) == Crop(180, 80, 80, 80)


def test_structure_is_preferred_to_noise_that_vanished():
    original = GREY.copy()
    original[20:120, 20:120] = np.random.default_rng(0).integers(0, 256, (100, 100, 3))
    original[140:180, 220:260] = checkers(40, 40, 5)
    degraded = softened(original)
    degraded[20:120, 20:120] = 128

    box = choose_crop(original, degraded)

    assert box.left > 180 and box.top > 100


def test_the_outer_sixteenth_is_avoided():
    original = GREY.copy()
    original[:30, :30] = checkers(30, 30, 5)

    box = choose_crop(original, softened(original))

    assert (box.left, box.top) == (20, 15)


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (80, 80), (81, 82), (300, 5)])
def test_a_box_lies_inside_even_the_smallest_picture(shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)

    box = choose_crop(picture, softened(picture))

    assert box.of(picture).shape == (min(80, shape[0]), min(80, shape[1]), 3)


def test_pictures_without_any_difference_still_give_a_box():
    assert choose_crop(GREY, GREY).of(GREY).shape == (80, 80, 3)


def test_the_size_can_be_chosen(photograph, blurred):
    assert choose_crop(photograph, blurred, size=48)[2:] == (48, 48)


def test_pictures_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        choose_crop(GREY, GREY[1:])


def test_a_box_of_no_size_is_refused():
    with pytest.raises(ValueError, match="size is 0"):
        choose_crop(GREY, GREY, size=0)


@pytest.mark.parametrize(("height", "width"), [(5, 200), (200, 5), (80, 80), (1, 1)])
def test_a_small_picture_is_its_own_crop(height: int, width: int) -> None:
    pictures = [np.full((height, width, 3), value, np.uint8) for value in (0, 9)]
    box = differing_crop(pictures)
    assert (box.width, box.height) == (min(80, width), min(80, height))
    assert box.of(pictures[0]).shape == (box.height, box.width, 3)


def test_the_first_of_equal_regions_is_taken_and_shapes_must_agree() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    assert differing_crop([picture, picture]) == Crop(0, 0, 80, 80)
    with pytest.raises(ValueError, match="shapes"):
        differing_crop([picture, picture[1:]])
    with pytest.raises(ValueError, match="1 images"):
        differing_crop([picture])
    with pytest.raises(ValueError, match="size is 0"):
        differing_crop([picture, picture], 0)
