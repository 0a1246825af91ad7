"""Memory is measured in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_networks import save, small_network

from compsrt_plugin.analysis.profile import peak_memory
from compsrt_plugin.analysis.profile.peak_memory import peak_bytes
from compsrt_plugin.errors import CompSRTError


def test_what_the_calls_take_is_counted_and_not_what_python_and_torch_hold(tmp_path: Path):
    file = save(tmp_path / "net.safetensors", small_network())
    features = 64 * 64 * 60 * 4  # bytes of one tensor between the layers
    assert 4 * features < peak_bytes("simulated", file, (1, 64, 64), 1) < 150_000_000


def test_what_goes_wrong_there_is_one_line(tmp_path: Path):
    with pytest.raises(CompSRTError, match="no such file"):
        peak_bytes("simulated", tmp_path / "none.safetensors", (1, 8, 8), 1)


def test_it_does_not_run_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(peak_memory, "SECONDS", 0.01)
    with pytest.raises(CompSRTError, match=r"not done after 0\.01 s"):
        peak_bytes("simulated", tmp_path / "none.safetensors", (1, 8, 8), 1)
