"""Memory is measured in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_networks import save, small_network

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.profiling import memory
from compsrt_plugin.profiling.memory import peak_bytes


def test_a_larger_picture_takes_more_but_not_the_networks_own_memory(tmp_path: Path):
    file = save(tmp_path / "net.safetensors", small_network())
    small, large = (peak_bytes("simulated", file, (1, side, side), 1) for side in (8, 128))
    tokens = 128 * 128
    assert large > tokens * 60 * 4 * 4  # some tensors of the size of its features
    assert small < large / 2 and large < 1 << 30


def test_what_goes_wrong_there_is_one_line(tmp_path: Path):
    with pytest.raises(CompSRTError, match="no such file"):
        peak_bytes("simulated", tmp_path / "none.safetensors", (1, 8, 8), 1)


def test_it_does_not_run_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "SECONDS", 0.01)
    with pytest.raises(CompSRTError, match=r"not done after 0\.01 s"):
        peak_bytes("simulated", tmp_path / "none.safetensors", (1, 8, 8), 1)
