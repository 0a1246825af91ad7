from __future__ import annotations

import pytest
import torch

from compsrt_plugin.packed import pack_bits, packed_size, unpack_bits

WIDTHS = range(1, 9)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (8,), (9,), (3, 5), (2, 0, 3), (60, 64), (1001,)], ids=str)
def test_what_is_packed_comes_back_and_takes_no_byte_more_than_it_must(bits, shape):
    codes = torch.randint(0, 1 << bits, shape, dtype=torch.uint8)
    data = pack_bits(codes, bits)
    assert data.dtype == torch.uint8
    assert len(data) == packed_size(codes.numel(), bits) == (codes.numel() * bits + 7) // 8
    assert torch.equal(unpack_bits(data, bits, codes.numel()), codes.reshape(-1))


@pytest.mark.parametrize("bits", WIDTHS)
def test_the_stream_is_little_endian_and_dense(bits):
    codes = torch.randint(0, 1 << bits, (29,), dtype=torch.uint8)
    number = sum(code << (i * bits) for i, code in enumerate(codes.tolist()))
    assert bytes(pack_bits(codes, bits).tolist()) == number.to_bytes(packed_size(29, bits), "little")


def test_codes_of_a_transposed_tensor_are_taken_in_row_major_order():
    codes = torch.arange(6, dtype=torch.uint8).reshape(2, 3).t()
    assert unpack_bits(pack_bits(codes, 3), 3, 6).tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("bits", range(1, 8))
def test_a_code_that_does_not_fit_is_refused(bits):
    codes = torch.zeros(10, dtype=torch.uint8)
    codes[3] = 1 << bits
    with pytest.raises(ValueError, match=f"code {1 << bits} does not fit in {bits} bits"):
        pack_bits(codes, bits)


@pytest.mark.parametrize("bits", [-1, 0, 9])
def test_widths_beyond_a_byte_are_refused(bits):
    with pytest.raises(ValueError, match=f"bits is {bits}"):
        pack_bits(torch.zeros(1, dtype=torch.uint8), bits)
    with pytest.raises(ValueError, match=f"bits is {bits}"):
        unpack_bits(torch.zeros(1, dtype=torch.uint8), bits, 1)


def test_codes_of_another_type_are_refused():
    with pytest.raises(ValueError, match=r"torch\.int64"):
        pack_bits(torch.tensor([1]), 2)
    with pytest.raises(ValueError, match=r"torch\.int64"):
        unpack_bits(torch.tensor([1]), 2, 4)


@pytest.mark.parametrize("count", [-1, 0, 2, 6, 2**62])
def test_data_of_another_length_are_refused(count):
    with pytest.raises(ValueError, match="cannot be"):
        unpack_bits(torch.zeros(2, dtype=torch.uint8), 3, count)


def test_bits_that_belong_to_no_code_must_be_zero():
    data = pack_bits(torch.tensor([7, 7, 7], dtype=torch.uint8), 3)
    data[-1] |= 128
    with pytest.raises(ValueError, match="after the last code"):
        unpack_bits(data, 3, 3)
