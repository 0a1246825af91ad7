"""Patches cover whole images, in a fixed order, and are read when they are needed."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from compsrt_plugin.analysis.tensors.image_patches import embedded, from_folder
from compsrt_plugin.errors import CompSRTError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, size in (("a", (70, 130)), ("b", (20, 30))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 256, (*size, 3), np.uint8))
    return tmp_path


@pytest.mark.parametrize("module", ["image_patches", "places"])
def test_the_examples_in_the_docstrings_hold(module: str):
    result = doctest.testmod(importlib.import_module(f"compsrt_plugin.analysis.tensors.{module}"))
    assert result.attempted and not result.failed


def test_patches_cover_every_pixel_and_small_pictures_are_padded(folder: Path):
    found = from_folder(folder, window=8)
    batches = list(found)
    assert len(found) == len(batches) == 2 * 3 + 1
    assert [tuple(batch.shape) for batch in batches] == [(1, 3, 64, 64)] * 6 + [(1, 3, 24, 32)]
    picture = torch.from_numpy(cv2.imread(str(folder / "a.png"))[..., ::-1].copy()).permute(2, 0, 1).float() / 255
    assert torch.equal(batches[0][0], picture[:, :64, :64])
    assert torch.equal(batches[5][0], picture[:, -64:, -64:])
    assert found.about == "7 patches of up to 64 x 64 low-resolution pixels, from 2 images in " + folder.name


def test_fewer_patches_are_spread_over_all_pictures(folder: Path):
    every, some = list(from_folder(folder, 8)), list(from_folder(folder, 8, most=3))
    assert len(some) == 3
    assert torch.equal(some[0], every[0]) and torch.equal(some[2], every[-1])


def test_a_folder_without_pictures_is_refused(tmp_path: Path):
    with pytest.raises(CompSRTError, match="no images in"):
        from_folder(tmp_path, 8)


def test_without_a_folder_four_embedded_pictures_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path))
    found = embedded(scale=4, window=8, most=4)
    assert found.about == "4 patches of up to 64 x 64 low-resolution pixels, from 4 embedded calibration images"
    assert all(batch.min() >= 0 and batch.max() <= 1 for batch in found)
