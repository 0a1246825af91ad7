"""A stronger network enlarges whole images in eight orientations."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training import stronger_network
from compsrt_plugin.zoo import spandrel_files
from compsrt_plugin.zoo.size import SizeRule

CPU = torch.device("cpu")


class Nearest(nn.Module):
    """Repeats pixels; turned and turned back, that is the same as without a turn."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] % 4 == 0 and x.shape[3] % 4 == 0
        return F.interpolate(x, scale_factor=2, mode="nearest")


class Ramp(nn.Module):
    """Adds a ramp along the width, which the eight orientations average away into a constant at the middle."""

    def forward(self, x: Tensor) -> Tensor:
        ramp = torch.linspace(-0.1, 0.1, 2 * x.shape[3])
        return F.interpolate(x, scale_factor=2, mode="nearest") + ramp


def file_of(network: nn.Module, multiple_of: int = 1) -> Any:
    return SimpleNamespace(network=network, scale=2, size=SizeRule(multiple_of=multiple_of, minimum=multiple_of))


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


@pytest.mark.parametrize(("patch", "wanted"), [(32, 64), (72, 96)])
def test_patches_that_it_does_not_take_are_refused_with_the_next_size(patch, wanted, monkeypatch):
    file = SimpleNamespace(network=Nearest(), scale=4, size=SizeRule(8, 16), block={"class": "Nearest"})
    monkeypatch.setattr(spandrel_files, "read", lambda *_: file)
    opt: dict[str, Any] = {
        "scale": 4,
        "path": {},
        "network_g": {},
        "datasets": {"train": {"gt_size": patch}},
        "train": {},
    }
    with pytest.raises(CompSRTError, match=rf"multiples of 8 pixels from 16 on, .*gt_size: {wanted}$"):
        stronger_network.read_stronger("file.pth", opt)


@pytest.mark.parametrize("most", [1, 60, 10**6])
def test_images_of_any_size_come_back_in_order(most: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stronger_network, "PIXELS", most)
    given = pictures((5, 7), (4, 4), (7, 5), (5, 7), (4, 4))
    made = stronger_network.enlarge_images(file_of(Nearest(), multiple_of=4), given, CPU)
    for picture, large in zip(given, made):
        assert np.array_equal(large, picture.repeat(2, axis=0).repeat(2, axis=1))


def test_what_one_orientation_adds_is_averaged_away():
    (made,) = stronger_network.enlarge_images(file_of(Ramp()), [np.full((6, 6, 3), 100, np.uint8)], CPU)
    assert np.array_equal(made, np.full((12, 12, 3), 100, np.uint8))
