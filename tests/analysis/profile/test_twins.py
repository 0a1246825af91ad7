"""Twins lack the mask or the transform, and nothing else; the file itself is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_networks import save, small_network

from compsrt_plugin.analysis.profile.twins import pruned_share, without_mask, without_transform
from compsrt_plugin.packed.open import decoded_network, open_packed
from compsrt_plugin.quant import named_quantizers, quantized_layers

X = torch.rand(1, 3, 16, 16)
PRUNED = {"hook": "magnitude", "ratio": 0.4}


@pytest.fixture(params=[None, PRUNED], ids=["whole", "pruned"])
def source(request: pytest.FixtureRequest, tmp_path: Path):
    return open_packed(save(tmp_path / "net.safetensors", small_network(pruning=request.param)))


def test_the_mask_is_filled_in(source, tmp_path: Path):
    before = source.network(X)
    twin = without_mask(source, tmp_path / "twin.safetensors")
    if not pruned_share(source):
        assert twin is None
        return
    assert twin is not None
    assert all(layer.weight_mask is None for _, layer in quantized_layers(twin.network))
    shapes = [[layer.weight_codes.shape for _, layer in quantized_layers(n)] for n in (source.network, twin.network)]
    assert shapes[0] == shapes[1] and twin.network(X).isfinite().all()
    assert torch.equal(source.network(X), before)


def test_nothing_is_transformed(source, tmp_path: Path):
    twin = without_transform(source, tmp_path / "twin.safetensors")
    assert twin is not None
    assert {quantizer.spec.transform for _, quantizer in named_quantizers(twin.network)} == {"none"}
    assert twin.network(X).isfinite().all() and not pruned_share(twin)
    assert without_transform(twin, tmp_path / "again.safetensors") is None


def test_full_precision_has_the_files_weights_and_no_quantizer(source):
    plain = decoded_network(source)
    assert not list(named_quantizers(plain))
    conv = source.network.conv_first.weight_quantizer.inverse(source.network.conv_first.quantized_matrix(), 27)
    assert torch.equal(plain.conv_first.weight, conv.view(plain.conv_first.weight.shape))
    assert plain(X).shape == (1, 3, 64, 64)
