"""Images are cut by themselves where memory would not suffice, into tiles that fit."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin.inference import choose_tile, memory, super_resolve

CPU = torch.device("cpu")
MAPS = 8  # float maps alive at once in `hungry`


def hungry(x: Tensor) -> Tensor:
    maps = [x[:, :1] + number for number in range(MAPS)]
    return torch.stack([part.mean() for part in maps]).sum() + x


def test_a_forward_pass_is_measured_by_what_it_holds_at_once() -> None:
    held = memory.bytes_per_pixel(hungry, scale=1, window=8, device=CPU)
    assert 4 * (MAPS + 6) <= held < 4 * (MAPS + 7)  # the maps, three channels of the input, three of the output

    def frugal(x: Tensor) -> Tensor:
        return torch.stack([(x[:, :1] + number).mean() for number in range(MAPS)]).sum() + x

    assert memory.bytes_per_pixel(frugal, scale=1, window=8, device=CPU) < held / 1.5


@pytest.mark.parametrize("window", [1, 7, 8, 64])
@pytest.mark.parametrize("mib", [1, 8, 64, 1024])
def test_a_tile_fits_whatever_memory_is_free(monkeypatch: pytest.MonkeyPatch, mib: int, window: int) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: mib << 20)
    tile = choose_tile(nn.Identity(), (3000, 4000), scale=1, window=window, device=CPU)
    assert tile.size <= memory.LARGEST + window
    least = max(memory.SMALLEST, 2 * window)
    assert tile.size**2 * memory.LEAST_PER_PIXEL <= memory.SHARE * (mib << 20) or tile.size <= least + window


def test_a_picture_that_fits_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 2 << 30)
    assert choose_tile(nn.Identity(), (300, 200), scale=1, window=8, device=CPU).size >= 304


def test_the_choice_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 64 << 20)
    monkeypatch.setattr(memory, "bytes_per_pixel", lambda *_, **__: 16384.0)
    lines: list[str] = []
    monkeypatch.setattr(logging.getLogger("basicsr"), "info", lines.append)
    memory._log_once.cache_clear()
    lq = torch.rand(1, 3, 120, 115)
    for _ in range(2):
        assert torch.equal(super_resolve(nn.Identity(), lq, scale=1, window=8), lq)
    assert len(lines) == 1 and lines[0].startswith("115×120 pixels would take 0.2 GiB")


def test_free_memory_is_told_in_bytes() -> None:
    assert 1 << 20 < memory.free_memory(CPU) < 1 << 50
