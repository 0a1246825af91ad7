from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from compsrt_plugin.data.resize import downscale, imresize, mod_crop, upscale


def lr_differences(benchmark: Path, name: str, scale: int, step: int = 1) -> list[str]:
    """Downscale every `step`-th HR image; name those whose given LR image is another one."""
    different = []
    pictures = sorted((benchmark / name / "HR").glob("*.png"))[::step]
    assert pictures
    for path in pictures:
        expected = cv2.imread(str(benchmark / name / "LR_bicubic" / f"X{scale}" / f"{path.stem}x{scale}.png"))
        if not np.array_equal(downscale(cv2.imread(str(path)), scale), expected):
            different.append(path.name)
    return different


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_all_set5_pictures_equal_matlabs_bit_for_bit(shared, scale):
    assert lr_differences(shared / "data" / "benchmark", "Set5", scale) == []


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("name", "step"), [("Set14", 3), ("B100", 10)])
def test_samples_of_the_larger_benchmarks_equal_matlabs_bit_for_bit(shared, name, step, scale):
    assert lr_differences(shared / "data" / "benchmark", name, scale, step) == []


def exact_row(row: list[int], scale: Fraction) -> list[int]:
    """Resize one row of uint8 in rational arithmetic, straight from the formula."""

    def cubic(x: Fraction) -> Fraction:
        x = abs(x)
        if x <= 1:
            return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
        return -Fraction(1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x <= 2 else Fraction(0)

    stretch = min(scale, Fraction(1))
    reach = math.ceil(2 / stretch) + 2
    resized = []
    for place in range(1, math.ceil(len(row) * scale) + 1):
        centre = place / scale + (1 - 1 / scale) / 2
        taps = [(k, cubic(stretch * (centre - k))) for k in range(int(centre) - reach, int(centre) + reach)]
        mirrored = row + row[::-1]
        total = sum((weight * mirrored[(k - 1) % len(mirrored)] for k, weight in taps), Fraction(0))
        value = total / sum((weight for _, weight in taps), Fraction(0))
        resized.append(min(255, max(0, math.floor(value + Fraction(1, 2)))))
    return resized


@pytest.mark.parametrize("scale", ["1/4", "1/3", "1/2", "2", "3", "4"])
def test_it_equals_rational_arithmetic_rounded_after_each_pass_rows_first(scale):
    scale = Fraction(scale)
    shape = (12, 24) if scale < 1 else (4, 6)
    image = np.random.default_rng(1).integers(0, 2, shape, dtype=np.uint8) * 255  # black or white: many ties
    columns = [exact_row(column, scale) for column in image.T.tolist()]
    expected = [exact_row(row, scale) for row in np.array(columns).T.tolist()]
    assert imresize(image, float(scale)).tolist() == expected


@pytest.mark.parametrize(
    ("side", "scale", "expected"), [(10, 0.25, 3), (9, 1 / 3, 3), (7, 1.5, 11), (1, 4, 4), (5, 0.1, 1)]
)
def test_the_new_side_is_rounded_up_at_any_scale(side, scale, expected):
    assert imresize(np.full((side, side), 7, np.uint8), scale).tolist() == [[7] * expected] * expected


def test_a_grey_picture_gives_what_each_channel_of_a_colour_picture_gives():
    image = np.random.default_rng(2).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    colour = imresize(image, 0.25)
    assert colour.shape == (5, 6, 3)
    assert all(np.array_equal(imresize(image[..., c], 0.25), colour[..., c]) for c in range(3))


def test_downscale_crops_bottom_and_right_first():
    image = np.random.default_rng(3).integers(0, 256, (19, 22, 3), dtype=np.uint8)
    assert np.array_equal(downscale(image, 4), imresize(image[:16, :20], 0.25))
    assert mod_crop(image, 4).shape == (16, 20, 3)


def test_upscale_makes_each_side_scale_times_as_long():
    assert upscale(np.zeros((5, 7, 3), np.uint8), 3).shape == (15, 21, 3)


def test_the_picture_given_is_not_changed():
    image = np.random.default_rng(4).integers(0, 256, (8, 8), dtype=np.uint8)
    before = image.copy()
    imresize(image, 0.5)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    ("image", "scale", "error"),
    [
        (np.zeros((4, 4), np.float32), 0.5, TypeError),
        (np.zeros(4, np.uint8), 0.5, ValueError),
        (np.zeros((0, 4), np.uint8), 0.5, ValueError),
        (np.zeros((4, 4), np.uint8), 0, ValueError),
        (np.zeros((4, 4), np.uint8), float("nan"), ValueError),
    ],
)
def test_what_matlab_would_treat_otherwise_is_refused(image, scale, error):
    with pytest.raises(error, match="imresize takes"):
        imresize(image, scale)
