"""Quantizers with aligned zero points."""

from __future__ import annotations

import pytest
import torch

from compsrt_plugin.quant import Quantizer, QuantSpec


def quantizer(bits: int, aligned: bool) -> Quantizer:
    spec = QuantSpec(bits, "none", "per_channel", scalar_decomposition=False, aligned_zero_point=aligned)
    made = Quantizer(spec, rows=50)
    generator = torch.Generator().manual_seed(bits)
    lower = -torch.rand(50, 1, generator=generator)
    made.set_bounds(lower, lower + 0.5 + torch.rand(50, 1, generator=generator))
    return made


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_an_aligned_zero_point_is_a_whole_number_of_quarter_scales(bits: int):
    free, aligned = quantizer(bits, False), quantizer(bits, True)
    (s, z), (aligned_s, aligned_z) = free.scale_and_zero_point(), aligned.scale_and_zero_point()
    quarters = 4 * aligned_z / aligned_s
    assert torch.equal(s, aligned_s)
    assert torch.allclose(quarters, quarters.round(), atol=1e-4) and not torch.allclose(4 * z / s, (4 * z / s).round())
    assert bool(((aligned_z - z).abs() <= s / 8 * 1.001).all())


def test_alignment_lets_gradients_pass():
    free, aligned = quantizer(3, False), quantizer(3, True)
    for made in (free, aligned):
        s, z = made.scale_and_zero_point()
        (2 * s + 3 * z).sum().backward()
    assert torch.equal(free.lower.grad, aligned.lower.grad) and torch.equal(free.upper.grad, aligned.upper.grad)
