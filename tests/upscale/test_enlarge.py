"""Depth, channels, alpha and grey survive the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_formats import exif_data, tags
from torch import Tensor

from compsrt_plugin.inference import Tile
from compsrt_plugin.upscale.enlarge import enlarge
from compsrt_plugin.upscale.image import DecodedImage

SCALE, WINDOW = 4, 8


def repeat(x: Tensor) -> Tensor:
    """A network that repeats pixels."""
    return x.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)


def run(picture: DecodedImage, network=repeat, tile: Tile | None = None) -> DecodedImage:
    return enlarge(picture, network, scale=SCALE, window=WINDOW, tile=tile)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (9, 13)])
def test_every_sample_value_passes_unchanged_at_its_own_depth(dtype, channels: int, size: tuple[int, int]):
    samples = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)
    made = run(DecodedImage(samples, icc=b"profile"))
    np.testing.assert_array_equal(made.colour, samples.repeat(SCALE, 0).repeat(SCALE, 1))
    assert made.colour.dtype == dtype and made.icc == b"profile" and made.alpha is None


def test_what_leaves_the_range_is_clipped():
    grey = np.full((2, 2, 1), 128, np.uint8)
    assert run(DecodedImage(grey), lambda x: repeat(x) * 3).colour.max() == 255
    assert run(DecodedImage(grey), lambda x: repeat(x) - 3).colour.max() == 0


def test_the_network_sees_grey_as_three_equal_channels_and_their_mean_is_kept():
    seen = []

    def tint(x: Tensor) -> Tensor:
        seen.append(x)
        return repeat(x) + torch.tensor([-0.1, 0.0, 0.1]).view(3, 1, 1)

    made = run(DecodedImage(np.full((8, 8, 1), 100, np.uint8)), tint)
    assert torch.equal(seen[0][:, 0], seen[0][:, 2]) and seen[0].shape[1] == 3
    assert (made.colour == 100).all() and made.colour.shape == (32, 32, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_opaque_or_transparent_stays_exactly_so(dtype):
    top = np.iinfo(dtype).max
    alpha = np.full((12, 12), top, dtype)
    alpha[:, 6:] = 0
    made = run(DecodedImage(np.zeros((12, 12, 3), dtype), alpha)).alpha
    assert made is not None and made.shape == (48, 48) and made.dtype == dtype
    assert (made[:, : 4 * SCALE] == top).all() and (made[:, 8 * SCALE :] == 0).all()
    assert ((made > 0) & (made < top)).any()  # an edge between them


def test_colour_that_cannot_be_seen_does_not_shine_through():
    colour = np.full((4, 4, 3), 200, np.uint8)
    alpha = np.full((4, 4), 255, np.uint8)
    colour[:, 2:], alpha[:, 2:] = 0, 0
    seen = []
    run(DecodedImage(colour, alpha), lambda x: seen.append(x) or repeat(x))
    assert (seen[0] == torch.tensor(200 / 255)).all()


def test_wholly_transparent_and_wholly_opaque_pictures_pass():
    for value in (0, 255):
        made = run(DecodedImage(np.zeros((3, 3, 3), np.uint8), np.full((3, 3), value, np.uint8))).alpha
        assert made is not None and (made == value).all()


def test_exif_has_the_new_size():
    made = run(DecodedImage(np.zeros((5, 7, 3), np.uint8), exif=exif_data()))
    assert (tags(made.exif)[0xA002], tags(made.exif)[0xA003]) == (28, 20)


def test_tiles_give_the_same_where_the_network_looks_at_single_pixels():
    samples = np.random.default_rng(0).integers(0, 256, (50, 61, 3), np.uint8)
    calls = []
    made = run(DecodedImage(samples), lambda x: calls.append(x.shape) or repeat(x), Tile(24, 4))
    np.testing.assert_array_equal(made.colour, samples.repeat(SCALE, 0).repeat(SCALE, 1))
    assert len(calls) > 4
