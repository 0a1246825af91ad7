"""A transform and a code mode registered from outside work everywhere: one file, no other table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_networks import save, small_network
from torch import Tensor

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.engine.describe import check_network
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import read_packed
from compsrt_plugin.packed.network_state import load_packed_state
from compsrt_plugin.quant import QuantSpec, distinct_codes, freeze, named_quantizers, quantized_layers
from compsrt_plugin.quant.fake import CODES, CodeMode, Grid, dequantize, position, register_code_mode
from compsrt_plugin.quant.transforms import TRANSFORMS, Transform, register_transform


def reversed_order(width: int) -> Tensor:
    return torch.eye(width, dtype=torch.float64, device="cpu").flip(0)


def floor_codes(x: Tensor, grid: Grid) -> Tensor:
    return position(x, grid.scale, grid.zero_point).floor_().clamp_(0, grid.top)


@pytest.fixture
def toys() -> Iterator[None]:
    """Register the transform `reversed` and the code mode `floor` for one test."""
    register_transform(Transform("reversed", reversed_order, lambda width: width))
    register_code_mode(
        CodeMode(
            "floor",
            floor_codes,
            lambda x, grid: dequantize(floor_codes(x, grid), grid.scale, grid.zero_point),
            bounded=True,
        )
    )
    yield
    del TRANSFORMS["reversed"], CODES["floor"]


@pytest.mark.parametrize("fields", [{"transform": "reversed"}, {"codes": "floor"}], ids=lambda f: next(iter(f)))
def test_it_goes_from_option_file_to_packed_file_and_back(toys: None, tmp_path: Path, fields: dict[str, str]):
    network = small_network(**fields)
    name, value = next(iter(fields.items()))
    assert {getattr(q.spec, name) for n, q in named_quantizers(network) if "attn" in n} == {value}
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        wanted = network(image)
        freeze(network)
        assert torch.equal(network(image), wanted)
    weights = {f"{layer}.weight" for layer, _ in quantized_layers(network)}
    assert all(2 <= n <= 8 for q, n in distinct_codes(network, [image]).items() if q not in weights or "attn" in q)
    packed = read_packed(save(tmp_path / "a.safetensors", network))
    again = CompSRTSwinIR(
        **{k: v for k, v in packed.header["arch"].items() if k != "type"}, quant=packed.header["spec"]
    ).eval()
    load_packed_state(again, packed, "a.safetensors")
    with torch.no_grad():
        assert torch.equal(again(image), wanted)
    assert getattr(resolve({"recipe": "compsrt", "bits": 3, "weight": fields}).spec.weight, name) == value


@pytest.mark.parametrize("fields", [{"transform": "reversed"}, {"codes": "floor"}], ids=lambda f: next(iter(f)))
def test_the_engine_refuses_what_it_does_not_have(toys: None, fields: dict[str, str]):
    name, value = next(iter(fields.items()))
    with pytest.raises(CompSRTError, match=f"{name}: {value}"):
        check_network(freeze(small_network(**fields)))


def test_a_toy_transform_is_written_to_onnx_and_a_toy_code_mode_refused(toys: None):
    pytest.importorskip("onnx")
    from compsrt_plugin.onnx.swinir import swinir_model
    from compsrt_plugin.onnx.weights import from_codes

    assert swinir_model(freeze(small_network(transform="reversed")), {}, ("input", "output"), from_codes).graph.node
    with pytest.raises(CompSRTError, match="codes: floor; allowed: strict, paper in an ONNX file"):
        swinir_model(freeze(small_network(codes="floor")), {}, ("input", "output"), from_codes)


def test_a_name_is_registered_once_and_an_unknown_one_refused(toys: None):
    with pytest.raises(ValueError, match="'reversed' is registered already"):
        register_transform(TRANSFORMS["reversed"])
    with pytest.raises(ValueError, match="'floor' is registered already"):
        register_code_mode(CODES["floor"])
    with pytest.raises(CompSRTError, match=r"unknown transform 'reverse'.*did you mean 'reversed'"):
        QuantSpec(transform="reverse")
