"""Weights that others published run from their file, with convolutions at 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_networks import foreign_network, spandrel_class, weight_file
from PIL import Image
from torch import nn

import compsrt_plugin as csr
from compsrt_plugin.cli.main import main
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.open import open_packed
from compsrt_plugin.quant import QuantConv2d, quantized_layers
from compsrt_plugin.quant.branches import MergedBranches
from compsrt_plugin.upscale.weight_files import network_of_weights

X = torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(0))


def rrdb() -> nn.Module:
    from basicsr.archs.rrdbnet_arch import RRDBNet

    return RRDBNet(3, 3, 4, num_feat=64, num_block=1)


def compact() -> nn.Module:
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    return SRVGGNetCompact(num_feat=16, num_conv=2, upscale=4, act_type="prelu")


def span() -> nn.Module:
    spandrel_class("HAT")  # skips without spandrel
    from spandrel.architectures.SPAN import SPAN

    return SPAN(num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=4)


KINDS: dict[str, Callable[[], nn.Module]] = {"RRDBNet": rrdb, "Compact": compact, "SPAN": span}


def saved(kind: str, folder: Path) -> tuple[Path, nn.Module]:
    pytest.importorskip("spandrel")
    torch.manual_seed(0)
    network = KINDS[kind]().eval()
    torch.save({"params_ema": network.state_dict()}, folder / f"{kind}.pth")
    return folder / f"{kind}.pth", network


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_convolutions_runs_at_8_bits(kind: str, tmp_path: Path) -> None:
    path, network = saved(kind, tmp_path)
    found = network_of_weights(path)
    assert (found.scale, found.bits, found.engine) == (4, 8, False)
    layers = [layer for _, layer in quantized_layers(found.run)]  # type: ignore[arg-type]
    assert layers and all(isinstance(layer, QuantConv2d) and layer.frozen for layer in layers)
    convolutions = [module for module in found.run.modules() if type(module) is nn.Conv2d]  # type: ignore[union-attr]
    assert len(convolutions) <= len(layers) / 8
    with torch.no_grad():
        wanted, made = network(X), found.run(X)
    error = float((made - wanted).square().mean().sqrt() / wanted.std())
    assert 0 < error < 0.02


def test_the_command_takes_a_weight_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = saved("SPAN", tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    out = tmp_path / "large.png"
    assert main(["upscale", str(tmp_path / "a.png"), "-o", str(out), "--model", str(path)]) == 0
    assert "x4 at 8 bits" in capsys.readouterr().out
    with torch.no_grad():
        wanted = network_of_weights(path).run(torch.from_numpy(pixels / 255).float().movedim(-1, 0)[None])
    wanted = (wanted[0].movedim(0, -1).clamp(0, 1) * 255).round().numpy()
    assert np.abs(np.asarray(Image.open(out)).astype(int) - wanted).max() <= 1


def test_a_network_with_attention_is_refused_with_the_next_step(tmp_path: Path) -> None:
    foreign_network("DAT")
    path = weight_file("DAT", tmp_path)
    with pytest.raises(CompSRTError, match=r"is a DAT, .*; quantize it first, in Python: compsrt_plugin\.quantize\("):
        network_of_weights(path)


def test_merged_branches_go_into_a_packed_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, network = saved("SPAN", tmp_path)
    out = tmp_path / "span.safetensors"
    calibration = {"patches": 2, "patch_size": 16}
    csr.quantize(path, X, bits=8, out=out, calibration=calibration)
    source = open_packed(out)
    assert any(isinstance(module, MergedBranches) for module in source.network.modules())
    with torch.no_grad():
        wanted, made = network(X), source.network(X)
    assert float((made - wanted).square().mean().sqrt() / wanted.std()) < 0.05
    assert main(["export", str(out), "--dense", "--out", str(tmp_path / "dense.pth")]) == 2
    assert "merged from branches" in capsys.readouterr().err
