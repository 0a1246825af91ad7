"""An image comes back as it was given, with the pixels of `basicsr upscale`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import compsrt_plugin as csr
from compsrt_plugin.cli.main import main
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.notebook import Upscaler
from compsrt_plugin.packed import bundled
from compsrt_plugin.packed.bundled import bundled_names
from compsrt_plugin.upscale.open_network import OpenNetwork

RGBA = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def bundled_network() -> Upscaler:
    return csr.load("compsrt_x2_2bit")


@pytest.fixture(scope="module")
def nearest() -> Upscaler:
    """A network that repeats each pixel twice, so that the result is known."""
    run = nn.Upsample(scale_factor=2)
    return Upscaler(OpenNetwork(run, Path("none"), "", scale=2, bits=4, window=1, engine=False))


def repeated(array: np.ndarray, rows: int = 0) -> np.ndarray:
    return array.repeat(2, rows).repeat(2, rows + 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1), (6, 9, 3), (2, 6, 9, 3)])
def test_arrays_keep_shape_dtype_and_values(nearest: Upscaler, shape: tuple[int, ...], dtype: Any) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape)
    given = image.astype(dtype) if np.issubdtype(dtype, np.integer) else (image / 255).astype(dtype)
    found = nearest.upscale(given)
    assert found.dtype == dtype
    wanted = repeated(given, int(len(shape) == 4))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=0 if np.issubdtype(dtype, np.integer) else 1e-3 / 2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 6, 9), (3, 6, 9), (2, 3, 6, 9)])
def test_tensors_keep_shape_dtype_and_values(nearest: Upscaler, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    image = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(2))
    given = image.to(dtype) if dtype is torch.uint8 else (image / 255).to(dtype)
    found = nearest.upscale(given)
    assert found.dtype is dtype
    torch.testing.assert_close(found, given.repeat_interleave(2, -1).repeat_interleave(2, -2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_pil_images_keep_mode_and_profile(nearest: Upscaler, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(RGBA[:, :, 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(RGBA).convert(mode)
    image.info["icc_profile"] = b"a profile"
    found = nearest.upscale(image)
    assert (found.mode, found.size) == (mode, (18, 12))
    assert found.info["icc_profile"] == b"a profile"
    if mode in ("L", "RGB", "I;16"):
        np.testing.assert_array_equal(np.asarray(found), repeated(np.asarray(image)))


def test_a_palette_becomes_the_colours_it_means(nearest: Upscaler) -> None:
    image = Image.fromarray(RGBA[:, :, :3]).quantize(8)
    found = nearest.upscale(image)
    np.testing.assert_array_equal(np.asarray(found), repeated(np.asarray(image.convert("RGB"))))


def test_opaque_alpha_stays_opaque(nearest: Upscaler) -> None:
    for given in (np.dstack([RGBA[:, :, :3], np.full((6, 9), 255, np.uint8)]), np.ones((6, 9, 2), np.float32)):
        found = nearest.upscale(given)
        assert found.shape[2] == given.shape[2]
        assert (found[:, :, -1] == given[0, 0, -1]).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_pixels_are_those_of_the_command(bundled_network: Upscaler, mode: str, tmp_path: Path) -> None:
    source = tmp_path / "small.png"
    Image.fromarray(RGBA).convert(mode).save(source)
    options = ["-s", "2", "--bits", "2"]
    assert main(["upscale", str(source), "-o", str(tmp_path / "large.png"), *options]) == 0
    wanted = np.asarray(Image.open(tmp_path / "large.png"))
    np.testing.assert_array_equal(bundled_network.upscale(np.asarray(Image.open(source))), wanted)
    np.testing.assert_array_equal(np.asarray(bundled_network.upscale(source)), wanted)
    np.testing.assert_array_equal(np.asarray(bundled_network.upscale(str(source))), wanted)


def test_tiles_are_those_asked_for(bundled_network: Upscaler) -> None:
    image = np.random.default_rng(3).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    assert bundled_network.upscale(image, tile=16).shape == (48, 80, 3)
    with pytest.raises(CompSRTError, match="tile is 8; allowed: 16 or more"):
        bundled_network.upscale(image, tile=8)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (None, "an image is a NoneType; allowed: a NumPy array, a tensor, a PIL image, a path"),
        (np.zeros((3, 4, 5), np.uint8), r"an array has the shape \(3, 4, 5\); allowed: \(h, w\), "),
        (np.zeros(7, np.uint8), r"an array has the shape \(7,\)"),
        (torch.zeros(4, 4), r"a tensor has the shape \(4, 4\); allowed: \(c, h, w\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "an image has the dtype torch.int64; allowed: uint8, uint16, or"),
        (np.zeros((0, 4, 3), np.uint8), "an image has no pixels"),
        (np.full((4, 4, 3), 200.0), "samples from 200 to 200; allowed: 0 to 1; divide by 255"),
        (np.full((4, 4), np.nan, np.float32), "samples from nan to nan"),
        (Image.new("CMYK", (4, 4)), r"mode CMYK; allowed: L, LA, .*\.convert"),
        ("none.png", "cannot read the image none.png: No such file"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(nearest: Upscaler, image: Any, says: str) -> None:
    with pytest.raises(CompSRTError, match=says) as error:
        nearest.upscale(image)
    assert "\n" not in str(error.value)


def test_a_network_is_found_by_name_path_and_option_file(tmp_path: Path) -> None:
    assert {f"compsrt_x{scale}_{bits}bit" for scale in (2, 3, 4) for bits in (2, 3, 4)} <= set(bundled_names())
    copied = tmp_path / "mine.safetensors"
    shutil.copy(bundled.WEIGHTS / "compsrt_x3_4bit.safetensors", copied)
    for source in ("compsrt_x3_4bit", copied, str(copied), "compsrt_x3_4bit.yml"):
        network = csr.load(source)
        assert (network.scale, network.bits) == (3, 4)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("compsrt_x4_3bits", r"unknown network 'compsrt_x4_3bits'; .*did you mean 'compsrt_x4_3bit'"),
        ("none.safetensors", "none.safetensors"),
        (".", ". is a folder; allowed: a packed file, or one of: dat_light_x2_3bit, "),
        (bundled.WEIGHTS / "swinir_light_x4_teacher.safetensors", "not a packed checkpoint"),
        ("ftp://host/file", "cannot download ftp://host/file; allowed: a path, http:// or https://"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(source: str | Path, says: str) -> None:
    with pytest.raises(CompSRTError, match=says):
        csr.load(source)


def test_info_says_what_the_file_is(bundled_network: Upscaler) -> None:
    info = bundled_network.info()
    path = bundled.WEIGHTS / "compsrt_x2_2bit.safetensors"
    assert (info.path, info.bytes, info.bits, info.scale, info.recipe) == (path, path.stat().st_size, 2, 2, "plus")
    simulated = csr.load(path, engine="never").info()
    assert not simulated.engine and "PyTorch, simulated (as asked)" in str(simulated)
    assert simulated.parameters == info.parameters == sum(p.numel() for p in swinir_light().parameters())


def swinir_light() -> nn.Module:
    csr.register()
    from basicsr.archs.swinir_arch import SwinIR

    shape = {"depths": [6] * 4, "num_heads": [6] * 4, "embed_dim": 60, "window_size": 8, "mlp_ratio": 2, "upscale": 2}
    return SwinIR(img_size=64, img_range=1.0, upsampler="pixelshuffledirect", resi_connection="1conv", **shape)
