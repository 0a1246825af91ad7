"""What the GPU engine cannot run, it says; without Triton everything else works."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest
import torch
from engine.networks import network
from torch import nn

from compsrt_plugin.engine_gpu import GpuEngine, gpu_engine_available
from compsrt_plugin.engine_gpu import engine as module
from compsrt_plugin.engine_gpu.limits import check_limits
from compsrt_plugin.errors import CompSRTError

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "compsrt-paper"}, "codes: paper"),
        ({"arch": {"window_size": 7, "img_size": 14}}, "window_size: 7; allowed: 4 and 8"),
        ({"arch": {"upsampler": "pixelshuffle"}}, "upsampler: 'pixelshuffle'; allowed: pixelshuffledirect"),
        ({"bits": 8}, "codes of 8 bits; allowed: codes up to ±127"),
        ({"overrides": {"*.attn.v": {"bits": 7}}}, "v has 7 bits"),
        ({"overrides": {"*.fc1": {"keep": True}}}, "mlp.fc1 is in full precision"),
        ({"overrides": {"*.attn.map": {"keep": True}}}, "map is in full precision"),
        ({"overrides": {"*.attn.q": {"transform": "none"}}}, "q and k have different transforms"),
        ({"overrides": {"*.qkv.k": {"transform": "none"}}}, "inputs of q, k and v have different transforms"),
        ({"overrides": {"*.fc2.weight": {"transform": "none"}}}, "mlp.fc2: input and weight have different"),
        ({"overrides": {"layers.0.residual_group.blocks.1.*.input": {"granularity": "per_token"}}}, "block 1 is made"),
        ({"recipe": "plus", "pruning": {"hook": "magnitude", "ratio": 0.4}}, "is pruned; allowed: networks without"),
    ],
)
def test_what_is_not_supported_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CompSRTError, match=message):
        check_limits(network(**change))


@needs_triton
def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.INTERPRETED, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not gpu_engine_available()
    with pytest.raises(CompSRTError, match="torch sees no GPU"):
        GpuEngine(network())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(CompSRTError, match=r"A card has compute capability 7\.5; allowed: 8\.0 and up"):
        GpuEngine(network())
    for device in ("cpu", "nowhere"):
        with pytest.raises(CompSRTError, match=f"device is '{device}'"):
            GpuEngine(network(), device)


@needs_triton
def test_what_it_is_given() -> None:
    with pytest.raises(CompSRTError, match="got str"):
        GpuEngine("file.safetensors", DEVICE)
    with pytest.raises(CompSRTError, match="Linear has no engine"):
        GpuEngine(nn.Linear(2, 2), DEVICE)
    engine = GpuEngine(network(), DEVICE)
    for shape in ((1, 3, 12, 16), (3, 16, 16), (1, 1, 16, 16), (1, 3, 0, 16)):
        with pytest.raises(CompSRTError, match="multiples of 8"):
            engine(torch.zeros(shape))


@needs_triton
def test_more_than_a_gpu_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = GpuEngine(network(), DEVICE)

    def full(shape: tuple[int, ...]) -> Any:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(engine, "_run", full)
    with pytest.raises(CompSRTError, match="1 pictures of 8 × 16 need more memory than the GPU has; use tiles"):
        engine(torch.zeros(1, 3, 8, 16))
    monkeypatch.setattr(module, "MOST_VALUES", 3200)
    with pytest.raises(CompSRTError, match="1 pictures of 8 × 16 at once; allowed: 100 pixels; use tiles"):
        engine(torch.zeros(1, 3, 8, 16))


def test_without_triton() -> None:
    """The package imports, and the engine says how to install it."""
    code = (
        "import importlib.util, sys; sys.modules['triton'] = None\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'triton' else find(name, *rest)\n"
        "from compsrt_plugin.engine_gpu import GpuEngine, gpu_engine_available\n"
        "assert not gpu_engine_available()\n"
        "GpuEngine(None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "CompSRTError: the GPU engine needs Triton; pip install triton" in done.stderr
