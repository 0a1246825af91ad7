from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import check_matches, load_weights

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "weights"


class Network(nn.Module):
    """The outline of a SwinIR: its names and shapes are what matters here."""

    def __init__(self, scale=4, width=8, depth=2, upsampler="direct"):
        super().__init__()
        self.conv_first = nn.Conv2d(3, width, 3)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.register_buffer("attn_mask", torch.zeros(scale, 5))
        if upsampler == "direct":
            self.upsample = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3), nn.PixelShuffle(scale))
            return
        steps = {2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}[scale]
        self.upsample = nn.Sequential(
            *(layer for r in steps for layer in (nn.Conv2d(6, 6 * r * r, 3), nn.PixelShuffle(r)))
        )
        self.conv_last = nn.Conv2d(6, 3, 3)


def refusal(weights, network):
    with pytest.raises(CompSRTError) as caught:
        check_matches(weights, network, "w.pth")
    message = str(caught.value)
    assert message.startswith("w.pth ") and "\n" not in message and len(message) < 500
    return message


def test_the_right_weights_pass_with_or_without_derived_buffers():
    network = Network()
    weights = network.state_dict()
    check_matches(weights, network, "w.pth")
    del weights["attn_mask"]
    check_matches(weights, network, "w.pth")
    check_matches({**weights, "layers.0.attn.relative_position_index": torch.ones(2)}, network, "w.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(value):
    weights = {name: tensor.clone() for name, tensor in Network().state_dict().items()}
    weights["layers.1.bias"][3] = value
    told = refusal(weights, Network())
    assert "1 tensors hold NaN or infinity (first layers.1.bias)" in told
    assert "diverged" in told and "network_g" not in told
    assert "network_g" in refusal(weights, Network(depth=3))


@pytest.mark.parametrize("upsampler", ["direct", "steps"])
@pytest.mark.parametrize(("found", "wanted"), [(2, 4), (4, 2), (3, 4), (8, 4)])
def test_another_scale_is_named(upsampler, found, wanted):
    weights = Network(found, upsampler=upsampler).state_dict()
    message = refusal(weights, Network(wanted, upsampler=upsampler))
    assert f"is a x{found} network, x{wanted} expected; use weights for x{wanted}" in message


def test_another_width_is_named_with_the_first_difference():
    message = refusal(Network(width=16).state_dict(), Network(width=8))
    assert "does not fit this Network: 7 of 8 tensors have another shape" in message
    assert "(first conv_first.weight: 16×3×3×3, expected 8×3×3×3)" in message
    assert "embed_dim" in message


def test_other_depths_are_named():
    assert "2 of 10 tensors are missing (first layers.2.weight)" in refusal(Network().state_dict(), Network(depth=3))
    assert "2 tensors are unknown (first layers.2.weight)" in refusal(Network(depth=3).state_dict(), Network())


def test_another_scale_and_width_are_both_named():
    message = refusal(Network(2, width=16).state_dict(), Network(4))
    assert "it is a x2 network, x4 expected" in message and "another shape" in message


def test_quite_another_network_is_named():
    message = refusal(nn.Linear(2, 2).state_dict(), Network())
    assert "is not a Network: none of its 2 tensors has a known name" in message


def test_integers_are_no_weights():
    weights = {name: tensor.to(torch.int64) for name, tensor in Network().state_dict().items()}
    assert "8 tensors hold integers" in refusal(weights, Network())


@pytest.fixture(scope="module")
def swinir():
    from compsrt_plugin import basicsr_compat

    basicsr_compat.apply()
    from basicsr.archs.swinir_arch import SwinIR

    def build(upscale):
        return SwinIR(
            upscale=upscale,
            img_size=64,
            window_size=8,
            depths=[6, 6, 6, 6],
            embed_dim=60,
            num_heads=[6, 6, 6, 6],
            mlp_ratio=2,
            upsampler="pixelshuffledirect",
        )

    return build


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the teachers' weights")
def test_the_teacher_fits_its_network_and_no_other(swinir, tmp_path):
    network = swinir(4)
    weights = load_weights(SHARED / "swinir_light_x4_teacher.safetensors")
    check_matches(weights, network, "teacher")
    torch.save({"params": network.state_dict()}, tmp_path / "official.pth")  # derived buffers and all
    check_matches(load_weights(tmp_path / "official.pth"), network, "official.pth")
    assert "is a x2 network, x4 expected" in refusal(
        load_weights(SHARED / "swinir_light_x2_teacher.safetensors"), network
    )


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs other networks' weights")
def test_a_published_network_of_another_kind_is_refused(swinir):
    message = refusal(load_weights(SHARED / "craft_x4.pth"), swinir(4))
    assert "does not fit this SwinIR" in message or "is no SwinIR" in message
