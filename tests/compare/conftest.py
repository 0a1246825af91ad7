"""Three small images, two small networks, and option files for them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml

from compsrt_plugin.data.resize import downscale

if TYPE_CHECKING:
    from places import Place

HOSTILE = "<img src=x onerror=alert(1)>"
PICTURES = ("p", "q", HOSTILE)


@pytest.fixture(scope="session")
def two_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed network of 2 bits beside `network_files["packed"]`, which has 3."""
    from small_networks import save, small_network

    return save(tmp_path_factory.mktemp("two") / "two.safetensors", small_network(2), bits=2)


class Networks:
    """The current folder with `two.yml` and `three.yml`, which test two packed networks on the data set Mine.

    Attributes:
        place: the folder.
        two, three: the packed files.
    """

    def __init__(self, place: Place, two: Path) -> None:
        self.place, self.two, self.three = place, two, place.files["packed"]
        rng = np.random.default_rng(0)
        for number, name in enumerate(PICTURES):
            grey = rng.integers(0, 256, (8 + number, 9, 3), np.uint8)
            picture = cv2.resize(grey, (48, 40 + 4 * number))
            place.save(Path(f"HR/{name}.png"), picture)
            place.save(Path(f"LR/{name}x4.png"), downscale(picture, 4))
        self.write("three.yml", name="three")
        self.write("two.yml", name="two", quant={"bits": 2}, path={"pretrain_network_g": str(two)})

    def write(self, file: str, **changes: Any) -> str:
        """Write an option file; blocks are changed key by key."""
        options = copy.deepcopy(self.place.test)
        for key, value in changes.items():
            options[key] = {**options[key], **value} if isinstance(value, dict) else value
        Path(file).write_text(yaml.safe_dump(options), encoding="utf-8")
        return file

    def tested(self, file: str) -> str:
        """Run `basicsr test`; return the result folder."""
        from compsrt_plugin.cli.main import main

        assert main(["test", "-opt", file]) == 0
        return f"results/{Path(file).stem}"


@pytest.fixture
def networks(place: Place, two_bits: Path) -> Networks:
    return Networks(place, two_bits)
