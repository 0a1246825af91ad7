"""What docs/large_images.md shows runs."""

from __future__ import annotations

import pages
import torch


def test_the_example_runs() -> None:
    (example,) = pages.blocks(pages.read("docs/large_images.md"), "python")
    names = pages.run(example)
    whole, pixels = names["whole"], names["pixels"]
    assert whole.shape == (1, 3, 1200, 1600)
    assert torch.equal(whole[:, :, -pixels.shape[2] :, -pixels.shape[3] :], pixels)
