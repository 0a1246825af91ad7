"""The engine's benchmark compares what it says it compares."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import compsrt_plugin

compsrt_plugin.register()
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import engine_agreement  # noqa: E402  (these need the repairs of `register`)
import openvino_int8  # noqa: E402
import without_avx512  # noqa: E402

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR  # noqa: E402


def small() -> CompSRTSwinIR:
    torch.manual_seed(0)
    return CompSRTSwinIR(upscale=2, depths=(2,), num_heads=(2,), embed_dim=8).eval().requires_grad_(False)


def test_one_file_runs_pictures_of_any_whole_windows() -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    network = small()
    session = onnxruntime.InferenceSession(openvino_int8.any_size(network), providers=["CPUExecutionProvider"])
    for height, width in ((64, 64), (24, 40), (8, 16)):
        x = torch.rand(1, 3, height, width)
        found = torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
        assert torch.allclose(found, network(x), atol=1e-5)
    assert not any(isinstance(module, openvino_int8._AnySize) for module in network.modules())  # a copy was changed


def test_equal_numbers_and_levels_are_counted() -> None:
    one = np.array([[0, 10, 255, 3]], np.uint8)
    assert engine_agreement.apart(one, np.array([[0, 12, 0, 3]], np.uint8)) == (0.5, 255)


def test_a_moved_network_has_the_same_numbers_elsewhere() -> None:
    network, x = small(), torch.rand(1, 3, 8, 8)
    seen = []
    network.conv_first.register_forward_hook(lambda conv, *_: seen.append(conv.weight.data_ptr() % 16))
    moved = engine_agreement._moved(network)
    assert torch.allclose(moved(x), network(x), atol=1e-5)
    assert seen == [4, 0]


def faults_on_cpuid() -> bool:
    """Whether this processor can be told to fault on CPUID; asks for what is so anyway (arch_prctl, ARCH_SET_CPUID)."""
    return ctypes.CDLL(None).syscall(158, 0x1012, 1) == 0


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64" or shutil.which("cc") is None,
    reason="x86-64 Linux with a C compiler",
)
@pytest.mark.skipif(
    platform.machine() != "x86_64" or not sys.platform.startswith("linux") or not faults_on_cpuid(),
    reason="a processor that can fault on CPUID",
)
def test_a_process_started_again_knows_no_avx512(tmp_path: Path) -> None:
    preloaded = without_avx512._compiled(tmp_path)
    assert preloaded is not None
    asked = [sys.executable, "-c", "import numpy._core._multiarray_umath as m; print(m.__cpu_features__['AVX512F'])"]
    done = subprocess.run(
        asked, env={**os.environ, "LD_PRELOAD": str(preloaded)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
