"""Addresses follow copies that only move elements: against torch, which moves them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from compsrt_plugin.engine.address import Address, contiguous
from compsrt_plugin.engine.steps import Buffer


def address_of(x: Tensor) -> Address:
    return Address.strided(Buffer(1, x.numel(), torch.float32), x.shape, x.stride())


def places(address: Address) -> Tensor:
    """Return the place of every element."""
    return torch.from_numpy(address.explicit() + address.offset)


def drawn_shape(random: np.random.Generator) -> list[int]:
    return [int(random.choice([1, 2, 3, 4, 6, 8])) for _ in range(random.integers(1, 5))]


def drawn_view(x: Tensor, random: np.random.Generator) -> Tensor:
    """Return x permuted, cut, or with an axis split."""
    axis = int(random.integers(x.ndim))
    match random.integers(3):
        case 0:
            return x.permute(*random.permutation(x.ndim).tolist())
        case 1:
            begin = int(random.integers(x.shape[axis]))
            return x.narrow(axis, begin, int(random.integers(1, x.shape[axis] - begin + 1)))
        case _:
            return next((x.unflatten(axis, (n, -1)) for n in (2, 3, 4) if x.shape[axis] % n == 0), x)


@pytest.mark.parametrize("seed", range(40))
def test_views_copies_and_rolls_one_after_another(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(10):
        shape = drawn_shape(random)
        held = torch.arange(int(np.prod(shape))).view(shape)  # each element is its own place
        address = address_of(held)
        for _ in range(4):
            view = held
            for _ in range(random.integers(4)):
                view = drawn_view(view, random)
            found = address.viewed(view.shape, view.stride(), int(view.storage_offset()))
            if found is None:
                break
            assert torch.equal(places(found), view)
            shift, axis = int(random.integers(-9, 9)), int(random.integers(view.ndim))
            held, address = view.roll(shift, axis).contiguous(), found.rolled(shift, axis)
            assert torch.equal(places(address), held)


def test_a_shifted_partition_into_windows_is_followed() -> None:
    x = torch.arange(16 * 16 * 6).view(1, 16, 16, 6)
    rolled = x.roll((-4, -4), (1, 2))
    address = address_of(x).rolled(-4, 1).rolled(-4, 2)
    windows = rolled.view(1, 2, 8, 2, 8, 6).permute(0, 1, 3, 2, 4, 5)
    like = torch.empty(1, 16, 16, 6).view(1, 2, 8, 2, 8, 6).permute(0, 1, 3, 2, 4, 5)
    found = address.viewed(like.shape, like.stride(), 0)
    assert found is not None and torch.equal(places(found), windows)
    flat = found.viewed((4, 64, 6), contiguous((4, 64, 6)), 0)
    assert flat is not None and torch.equal(places(flat), windows.reshape(4, 64, 6))
    rows = flat.rows()
    assert rows is not None and rows.at is not None and rows.channel == 1
    assert torch.equal(torch.from_numpy(rows.at + rows.offset), windows.reshape(-1, 6)[:, 0])


def test_a_table_that_is_a_sum_is_parted() -> None:
    x = torch.arange(8 * 12).view(8, 12)
    whole = address_of(x).viewed((96,), (1,), 0)
    assert whole is not None
    again = whole.viewed((8, 12), (12, 1), 0)
    assert again is not None and [axes for axes, _ in again.tables] == [(0,), (1,)]
    assert again.strides() == (12, 1)


def test_a_view_across_an_axis_has_no_address() -> None:
    assert address_of(torch.empty(4, 6)).viewed((8,), (1,), 3) is None


def test_rows_that_lie_in_step_need_no_table() -> None:
    x = torch.arange(5 * 7 * 9).view(5, 7, 9)
    rows = address_of(x[:, :, :4]).rows()
    assert rows is not None and (rows.at, rows.stride, rows.channel) == (None, 9, 1)


def test_axes_are_joined_as_far_as_every_operand_allows() -> None:
    x, y = address_of(torch.empty(3, 4, 5)), address_of(torch.empty(3, 1, 5)).broadcast((3, 4, 5))
    assert [address.shape for address in x.merged([x])] == [(60,), (60,)]
    assert [address.shape for address in x.merged([y])] == [(3, 4, 5), (3, 4, 5)]
