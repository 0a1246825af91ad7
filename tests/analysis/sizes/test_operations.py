from __future__ import annotations

import pytest
from small_networks import ARCH

from compsrt_plugin.analysis.sizes import count_products
from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.quant import NetworkSpec, QuantSpec

BLOCK = "layers.0.residual_group.blocks.0"


def products(height=16, width=16, kept=None, spec=None, **arch):
    spec = spec or NetworkSpec(QuantSpec(3), QuantSpec(4))
    network = CompSRTSwinIR(**{**ARCH, **arch}, quant=spec)
    return {product.name: product for product in count_products(network, height, width, kept)}


def test_the_products_of_a_swin_block_are_those_counted_by_hand():
    found = {name: p for name, p in products().items() if name.startswith(BLOCK)}
    tokens, width, hidden = 16 * 16, 60, 120
    windows, window = 4, 64
    by_hand = {
        **{f"attn.qkv.{part}": tokens * width * width for part in "qkv"},
        "attn.qk": windows * 6 * window * window * 10,
        "attn.mapv": windows * 6 * window * window * 10,
        "attn.proj": tokens * width * width,
        "mlp.fc1": tokens * width * hidden,
        "mlp.fc2": tokens * hidden * width,
    }
    assert {name[len(BLOCK) + 1 :]: p.macs for name, p in found.items()} == by_hand
    weights = {name for name in by_hand if name not in ("attn.qk", "attn.mapv")}
    assert all(found[f"{BLOCK}.{name}"].bits == ((3, 4) if name in weights else (4, 4)) for name in by_hand)
    assert found[f"{BLOCK}.mlp.fc1"].bitops == tokens * width * hidden * 12


def test_convolutions_count_a_product_for_each_output_pixel_and_their_inputs_are_floats():
    found = products()
    assert found["conv_first"].macs == 16 * 16 * 60 * 27
    assert found["upsample.0"].macs == 16 * 16 * 48 * 540
    assert found["upsample.0"].bitops == 16 * 16 * 48 * 540 * 8 * 32
    inputs = products(spec=NetworkSpec(QuantSpec(3), QuantSpec(3), conv_input_bits=6))
    assert inputs["upsample.0"].bitops == 16 * 16 * 48 * 540 * 8 * 6
    plain = products(spec=NetworkSpec(QuantSpec(3), QuantSpec(3), conv_bits=None))
    assert plain["upsample.0"].bits == (32, 32)


def test_swinir_light_x4_takes_4_36_billion_multiply_adds_on_64_pixels():
    found = products(64, 64, depths=[6] * 4, num_heads=[6] * 4)
    assert sum(p.macs for p in found.values()) == pytest.approx(4.36e9, rel=1e-3)


def test_a_picture_grows_to_whole_windows():
    assert products(17, 9) == products(24, 16)


def test_whole_pruned_channels_save_operations_in_proportion():
    fc1 = f"{BLOCK}.mlp.fc1"
    found = products(kept={fc1: (90, 32)})[fc1]
    assert found.float_macs == 256 * 60 * 120
    assert found.macs == found.float_macs * 90 // 120 // 2
