"""The profile shows the colours that a PNG's colour chunks mean, by littlecms."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from compsrt_plugin.upscale.icc import colours_of, profile_for

SRGB = ImageCms.createProfile("sRGB")
SAMPLES = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
# IEC 61966-2-1 and SMPTE EG 432-1: linear Display P3 to linear sRGB
P3_TO_SRGB = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])


def shown(chunks: dict[bytes, bytes], samples: np.ndarray, grey: bool = False) -> np.ndarray:
    colours = colours_of(chunks)
    assert colours is not None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_for(colours, grey=grey)))
    image = Image.fromarray(samples)
    made = ImageCms.profileToProfile(image, profile, SRGB, ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB")
    assert made is not None
    return np.asarray(made).astype(np.float64)


def to_srgb(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def from_srgb(samples: np.ndarray) -> np.ndarray:
    samples = samples / 255
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("chunks", [{b"sRGB": b"\0"}, {b"cICP": bytes([1, 13, 0, 1])}])
def test_srgb_stays_as_it_is(chunks: dict[bytes, bytes]):
    np.testing.assert_array_equal(shown(chunks, SAMPLES), SAMPLES)


@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 1 / 2.2])
def test_gamma_is_undone(gamma: float):
    made = shown({b"gAMA": struct.pack(">L", round(gamma * 1e5))}, SAMPLES)
    np.testing.assert_allclose(made, to_srgb((SAMPLES / 255) ** (1 / gamma)), atol=1.5)


def test_wide_primaries_become_what_they_are_in_srgb():
    expected = to_srgb(from_srgb(SAMPLES) @ P3_TO_SRGB.T)
    np.testing.assert_allclose(shown({b"cICP": bytes([12, 13, 0, 1])}, SAMPLES), expected, atol=1.5)


def test_chromaticities_are_read_as_the_same_numbers():
    numbers = struct.pack(
        ">8L", *(round(value * 1e5) for value in (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06))
    )
    chunks = {b"gAMA": struct.pack(">L", 100_000), b"cHRM": numbers}
    expected = to_srgb((SAMPLES / 255) @ P3_TO_SRGB.T)
    np.testing.assert_allclose(shown(chunks, SAMPLES), expected, atol=1.5)


def test_grey_has_the_curve_alone():
    grey = SAMPLES[..., 0] // 2 + 128  # littlecms is coarse in the dark
    made = shown({b"gAMA": struct.pack(">L", 100_000)}, grey, grey=True)
    np.testing.assert_allclose(made[..., 0], to_srgb(grey / 255), atol=1.5)


def test_the_order_of_precedence_is_that_of_the_specification():
    all_of_them = {b"cICP": bytes([12, 13, 0, 1]), b"sRGB": b"\0", b"gAMA": struct.pack(">L", 100_000)}
    both = {name: all_of_them[name] for name in (b"sRGB", b"gAMA")}
    assert colours_of(all_of_them) == colours_of({b"cICP": all_of_them[b"cICP"]})
    assert colours_of(both) == colours_of({b"sRGB": b"\0"})


@pytest.mark.parametrize(
    "chunks",
    [
        {b"cICP": bytes([9, 16, 0, 1])},
        {b"cICP": bytes([200, 13, 0, 1])},
        {b"cHRM": struct.pack(">8L", *[31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000])},
        {b"gAMA": bytes(4)},
        {b"gAMA": struct.pack(">L", 45455), b"cHRM": bytes(32)},
        {b"mDCV": bytes(24)},
    ],
)
def test_what_a_profile_cannot_say_is_left_to_the_caller(chunks: dict[bytes, bytes]):
    assert colours_of(chunks) is None
