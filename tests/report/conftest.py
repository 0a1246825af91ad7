from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from compsrt_plugin.report import FileRecord, Results, Score

METRIC = {"crop_border": 4, "test_y_channel": True}


def _make_results(**changes: Any) -> Results:
    """A strict 3-bit run over two images of one data set, with `changes` to its fields."""
    fields: dict[str, Any] = {
        "name": "compsrt_x4_3bit",
        "scale": 4,
        "bits": 3,
        "bytes": 612_345,
        "float_bytes": 3_718_512,
        "padding": "reflect",
        "metrics": {"psnr": {"type": "calculate_psnr", **METRIC}, "ssim": {"type": "calculate_ssim", **METRIC}},
        "codes": "strict",
        "recipe": "compsrt",
        "weights_trained": False,
        "distinct_codes": {"layers.0.q": 8, "layers.0.k": 7},
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "files": {"checkpoint": FileRecord("compsrt_x4_3bit.cpsrt", "ab" * 32, 612_345)},
        **changes,
    }
    results = Results(**fields)
    results.add_image("Set5", "baby", bicubic=Score(28.0, 0.80), teacher=Score(32.0, 0.90), quantized=Score(31.0, 0.88))
    results.add_image("Set5", "bird", bicubic=Score(29.0, 0.82), teacher=Score(33.0, 0.91), quantized=Score(32.5, 0.90))
    return results


@pytest.fixture
def make_results() -> Callable[..., Results]:
    return _make_results


@pytest.fixture
def results() -> Results:
    return _make_results()


@pytest.fixture
def photograph() -> NDArray[np.uint8]:
    """A real image, 300×448×3, BGR: a cat whose left eye is about (155, 118)."""
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.chelsea()[:, :448, ::-1])


@pytest.fixture
def blurred(photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photograph after a fourfold reduction and enlargement."""
    from PIL import Image

    picture = Image.fromarray(photograph)
    small = picture.resize((112, 75), Image.Resampling.BICUBIC)
    return np.array(small.resize((448, 300), Image.Resampling.BICUBIC))
