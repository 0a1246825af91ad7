"""What the engine cannot run, it says; without it everything else works."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
import torch
from torch import nn

from compsrt_plugin.engine import Engine, engine_available, unsupported_reason
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import LEVEL_VARIABLE, loading
from compsrt_plugin.quant import Mode, set_mode

from .networks import CompSRTSwinIR, network, picture

needs_engine = pytest.mark.skipif(not engine_available(), reason="the engine is not compiled here")


@needs_engine
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "compsrt-paper"}, "codes: paper"),
        ({"arch": {"ape": True}}, "ape: true"),
        ({"conv_input_bits": 8}, "conv_first has quantized inputs"),
        ({"activation": {"transform": "hadamard_block"}}, "transform: hadamard_block"),
        ({"overrides": {"*.map": {"transform": "hadamard_signed"}}}, "map has transform: hadamard_signed"),
        ({"overrides": {"*.attn.q": {"transform": "hadamard_signed"}}}, "one of q and k has hadamard_signed"),
    ],
)
def test_what_is_not_supported_is_named(change: dict[str, Any], message: str) -> None:
    made = network(**change)
    with pytest.raises(CompSRTError, match=message):
        Engine(made)
    assert message in (unsupported_reason(made) or "")


@needs_engine
def test_networks_that_are_not_ready() -> None:
    made = network()
    assert unsupported_reason(made) is None
    set_mode(made, Mode.OFF)
    assert "switched off" in (unsupported_reason(made) or "")
    assert "not quantized" in (unsupported_reason(CompSRTSwinIR(depths=[1], num_heads=[6], img_size=16)) or "")
    assert "not quantized" in (unsupported_reason(nn.Linear(2, 2)) or "")
    with pytest.raises(CompSRTError, match="got str"):
        Engine("file.safetensors")


@needs_engine
@pytest.mark.parametrize("threads", [0, -1, 1.5, True, 100_000])
def test_numbers_of_threads(threads: Any) -> None:
    with pytest.raises(CompSRTError, match="threads is"):
        Engine(network(), threads=threads)


@needs_engine
@pytest.mark.parametrize("shape", [(1, 3, 12, 16), (3, 16, 16), (1, 1, 16, 16), (1, 3, 0, 16), (0, 3, 8, 8)])
def test_shapes(shape: tuple[int, ...]) -> None:
    engine = Engine(network(), threads=1)
    with pytest.raises(CompSRTError, match="multiples of 8"):
        engine(torch.zeros(shape))


@needs_engine
def test_a_level_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LEVEL_VARIABLE, "avx1024")
    with pytest.raises(CompSRTError, match=r"avx1024.*plain"):
        Engine(network())


def test_without_the_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "library", lambda: None)
    assert not engine_available()
    assert "without a C++ compiler" in (unsupported_reason() or "")
    with pytest.raises(CompSRTError, match=r"setup\.py build_ext|pip install"):
        Engine(network())


def test_a_damaged_extension_counts_as_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "_native.so").write_bytes(b"\x7fELF nothing")
    monkeypatch.setattr(loading, "compiled", lambda *_: tmp_path / "_native.so")
    assert loading.library.__wrapped__() is None


@needs_engine
def test_a_forked_process_has_threads_of_its_own() -> None:
    engine, x = Engine(network(), threads=2), picture()
    wanted = engine(x)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(torch.equal(engine(x), wanted)))
    child.start()
    assert queue.get(timeout=60)
    child.join(60)
