"""A quantized network comes back from its file and computes the same, bit for bit."""

from __future__ import annotations

import pytest
import torch
from small_networks import ARCH, save, small_network

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import read_packed
from compsrt_plugin.packed.network_state import load_packed_state, round_mantissa, round_table
from compsrt_plugin.quant import named_quantizers

PICTURE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
PRUNINGS = {
    "whole": None,
    "magnitude": {"hook": "magnitude", "ratio": 0.4},
    "rows": {"hook": "channel", "ratio": 0.4, "options": {"axis": "rows"}},
    "columns": {"hook": "channel", "ratio": 0.4},
    "2:4": {"hook": "n_m", "ratio": None},
}


def rebuilt(path, network) -> CompSRTSwinIR:
    again = CompSRTSwinIR(**ARCH, quant=network.quant).eval()
    load_packed_state(again, read_packed(path), path)
    return again


def upscaled(network) -> torch.Tensor:
    with torch.no_grad():
        return network(PICTURE)


def comes_back(path, network) -> bool:
    before = upscaled(network)
    return torch.equal(before, upscaled(rebuilt(save(path, network), network)))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("pruning", PRUNINGS)
def test_every_bit_width_and_mask_comes_back_bit_for_bit(tmp_path, bits, pruning):
    assert comes_back(tmp_path / "file", small_network(bits, pruning=PRUNINGS[pruning]))


@pytest.mark.parametrize("transform", ["none", "hadamard"])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("codes", ["strict", "paper"])
@pytest.mark.parametrize("pruning", ["whole", "magnitude"])
def test_every_transform_granularity_and_code_comes_back_bit_for_bit(tmp_path, transform, granularity, codes, pruning):
    fields = {"transform": transform, "granularity": granularity, "codes": codes}
    network = small_network(3, pruning=PRUNINGS[pruning], **fields)
    if codes == "paper":
        for _, quantizer in named_quantizers(network):  # as trained alphas do: more codes than bits hold
            if quantizer.alpha is not None:
                span = (quantizer.upper - quantizer.lower).detach().min()
                torch.nn.init.constant_(quantizer.alpha, -0.3 * float(span) / 8)
    assert comes_back(tmp_path / "file", network)


def test_convolutions_in_full_precision_come_back_too(tmp_path):
    assert comes_back(tmp_path / "file", small_network(conv_bits=None))


def test_quantized_inputs_of_convolutions_come_back_too(tmp_path):
    assert comes_back(tmp_path / "file", small_network(conv_input_bits=8))


def test_a_file_of_another_network_is_refused(tmp_path):
    path = save(tmp_path / "file", small_network())
    other = CompSRTSwinIR(**{**ARCH, "depths": [3]}, quant=small_network().quant)
    with pytest.raises(CompSRTError, match="tensors missing"):
        load_packed_state(other, read_packed(path), path)


def test_bounds_of_per_channel_weights_take_two_bytes_each(tmp_path):
    state = read_packed(save(tmp_path / "file", small_network(granularity="per_channel"))).state
    ends = ("weight_quantizer.lower", "weight_quantizer.upper")
    bounds = {name: tensor for name, tensor in state.items() if name.endswith(ends)}
    assert bounds and all(tensor.dtype is torch.float16 for tensor in bounds.values())


def test_a_table_is_rounded_to_its_bits_exactly_representable_and_near():
    table = torch.randn(225, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.01, 0.1, 1, 2, 4, 8])
    rounded = round_table(table)
    assert torch.equal(rounded, rounded.half().float())
    assert all(len(column.unique()) <= 32 for column in rounded.T)
    span = table.amax(0) - table.amin(0)
    assert ((rounded - table).abs() <= span / 31).all()


def test_a_table_of_equal_entries_stays_as_it_is():
    table = torch.full((9, 2), 0.3)
    assert torch.equal(round_table(table), table)


def test_a_vector_keeps_its_significant_bits():
    values = torch.tensor([0.0, 1.0, -1.0, 300.0, 1 + 2**-8, 1 + 2**-9 + 2**-12, 1e-6])
    rounded = round_mantissa(values, 9)
    assert rounded[:5].tolist() == values[:5].tolist() and rounded[5] == 1 + 2**-8
    assert torch.equal(rounded, rounded.half().float())
