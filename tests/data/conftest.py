"""Images to test with: random ones made on the spot, and the project's shared benchmark where it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sample_pictures import random_picture, save

from compsrt_plugin.data.resize import downscale


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(__file__).resolve().parents[2].parent / "shared"
    if not (folder / "data" / "benchmark").is_dir():
        pytest.skip("needs the project's shared images")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("COMPSRT_CACHE", str(folder))
    return folder


@pytest.fixture
def hr_folder(tmp_path: Path) -> Path:
    """Three HR images, none of them a multiple of 4 on both sides."""
    for seed, (name, height, width) in enumerate([("ant", 66, 81), ("bee", 70, 65), ("cat", 64, 90)]):
        save(tmp_path / "hr" / f"{name}.png", random_picture(height, width, seed))
    return tmp_path / "hr"


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Make `ROOT/NAME/HR` and `ROOT/NAME/LR_bicubic/X4` with some images; returns both folders."""

    def make(
        name: str = "Zoo", scale: int = 4, count: int = 3, side: int = 64, root: Path = tmp_path
    ) -> tuple[Path, Path]:
        hr, lr = root / name / "HR", root / name / "LR_bicubic" / f"X{scale}"
        for number in range(count):
            picture = random_picture(side, side + 4 * scale * number, number)
            save(hr / f"p{number}.png", picture)
            save(lr / f"p{number}x{scale}.png", downscale(picture, scale))
        return hr, lr

    return make
