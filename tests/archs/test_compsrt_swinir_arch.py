from __future__ import annotations

import pytest
import torch
from basicsr.archs.swinir_arch import SwinIR

import compsrt_plugin  # noqa: F401  (repairs what BasicSR's import needs)
from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.packed import load_weights
from compsrt_plugin.packed.bundled import teacher_path
from compsrt_plugin.quant import NetworkSpec, calibrate, distinct_codes, named_quantizers

SMALL = {"depths": (2,), "num_heads": (6,), "img_size": 16, "upscale": 4}
SIZES = [(16, 16), (8, 24), (64, 40)]


def pair(**arguments) -> tuple[SwinIR, CompSRTSwinIR]:
    torch.manual_seed(1)
    theirs = SwinIR(**{**CompSRTSwinIR.LIGHT, **arguments}).eval()
    ours = CompSRTSwinIR(**arguments).eval()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("size", SIZES)
def test_with_quantizers_off_it_equals_basicsr_swinir_bit_for_bit(size: tuple[int, int]):
    theirs, ours = pair(**SMALL)
    ours.quantize(NetworkSpec())
    x = torch.rand(1, 3, *size)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_the_whole_light_network_equals_basicsr_swinir_bit_for_bit_with_the_bundled_weights():
    theirs, ours = pair(upscale=4)
    weights = load_weights(teacher_path(4))
    theirs.load_state_dict(weights, strict=False)
    ours.load_state_dict(weights)
    ours.quantize(NetworkSpec())
    x = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_light_is_the_default_and_has_929628_parameters():
    assert sum(p.numel() for p in CompSRTSwinIR(upscale=4).parameters()) == 929_628


def test_every_swin_block_has_sixteen_quantizers():
    network = CompSRTSwinIR(upscale=4, quant=NetworkSpec(conv_bits=None))
    names = [name for name, _ in named_quantizers(network)]
    block = "layers.2.residual_group.blocks.3."
    assert len(names) == 384
    assert {name[len(block) :] for name in names if name.startswith(block)} == {
        *(f"attn.qkv.{part}.{side}" for part in "qkv" for side in ("input", "weight")),
        *(f"{layer}.{side}" for layer in ("attn.proj", "mlp.fc1", "mlp.fc2") for side in ("input", "weight")),
        *(f"attn.{operand}" for operand in ("q", "k", "v", "map")),
    }


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("map_transform", ["hadamard", "hadamard_softmax", "none"])
def test_every_quantizer_of_a_calibrated_network_keeps_to_its_bits(bits: int, map_transform: str):
    spec = NetworkSpec.from_dict(
        {
            "weight": {"bits": bits},
            "activation": {"bits": bits},
            "overrides": {"*.attn.map": {"transform": map_transform}},
        }
    )
    network = CompSRTSwinIR(quant=spec, **SMALL).eval()
    pictures = [torch.rand(1, 3, 16, 16), torch.rand(1, 3, 32, 16)]
    calibrate(network, pictures)
    counts = distinct_codes(network, pictures)
    widths = {name: quantizer.spec.bits for name, quantizer in named_quantizers(network)}
    assert counts.keys() == widths.keys()
    assert all(counts[name] <= 2 ** widths[name] for name in counts)


@pytest.mark.parametrize("kept", ["*.attn.map", "*.attn.q", "*.attn", "*.qkv.v", "*.fc1.input", "conv_first"])
def test_any_place_can_be_kept_in_full_precision(kept: str):
    whole = CompSRTSwinIR(quant=NetworkSpec(), **SMALL)
    network = CompSRTSwinIR(quant=NetworkSpec(overrides={kept: {"keep": True}}), **SMALL).eval()
    calibrate(network, [torch.rand(1, 3, 16, 16)])
    assert len(list(named_quantizers(network))) < len(list(named_quantizers(whole)))
    assert network(torch.rand(1, 3, 16, 16)).shape == (1, 3, 64, 64)


def test_official_files_load_with_and_without_their_buffers():
    theirs, ours = pair(**SMALL)
    with_buffers = theirs.state_dict()
    assert any(key.endswith("attn_mask") for key in with_buffers)
    without = {k: v for k, v in with_buffers.items() if not k.endswith(("attn_mask", "relative_position_index"))}
    for state in (with_buffers, without):
        ours.load_state_dict(state)
    assert not any(key.endswith(("attn_mask", "relative_position_index")) for key in ours.state_dict())
