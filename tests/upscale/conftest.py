"""A small packed network, and images to enlarge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_networks import save, small_network

from compsrt_plugin.upscale.open_network import OpenNetwork, network_for


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("network") / "small.safetensors", small_network())


@pytest.fixture(scope="session")
def network(packed: Path) -> OpenNetwork:
    return network_for(packed, engine="never")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with three images of 9 x 11 pixels, and a text file."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate(("a.png", "b.jpg", "c.webp")):
        samples = np.random.default_rng(number).integers(0, 256, (9, 11, 3), np.uint8)
        Image.fromarray(samples).save(folder / name)
    (folder / "notes.txt").write_text("")
    return folder
