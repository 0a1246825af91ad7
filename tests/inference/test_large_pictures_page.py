"""What docs/large_pictures.md shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import torch

PAGE = Path(__file__).parents[2] / "docs" / "large_pictures.md"


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, str(PAGE), "exec"), names)
    whole, pixels = names["whole"], names["pixels"]
    assert isinstance(whole, torch.Tensor) and isinstance(pixels, torch.Tensor)
    assert whole.shape == (1, 3, 1200, 1600)
    assert torch.equal(whole[:, :, -pixels.shape[2] :, -pixels.shape[3] :], pixels)
