"""Students and runs that several files use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.quant import NetworkSpec, calibrate
from training import tiny_run


@pytest.fixture
def lq() -> torch.Tensor:
    """Two patches of 16 x 16."""
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def teacher() -> CompSRTSwinIR:
    return tiny_run.plain_teacher()


@pytest.fixture
def student(lq: torch.Tensor) -> CompSRTSwinIR:
    """The teacher at 2 bits, bounds searched."""
    network = tiny_run.plain_teacher()
    network.quantize(NetworkSpec.from_dict({"weight": {"bits": 2}, "activation": {"bits": 2}}))
    calibrate(network, [lq])
    return network


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_logger: None) -> Path:
    """The working folder of a run, with the inputs of `tiny_run`."""
    tiny_run.write_inputs(tmp_path)
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
