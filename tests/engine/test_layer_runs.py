"""How each layer runs, and why not in integers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from compsrt_plugin.cli.main import main
from compsrt_plugin.engine import Engine, engine_available
from compsrt_plugin.engine.layer_runs import FLOATS, INTEGERS, PYTORCH, LayerRun, layers_text
from compsrt_plugin.errors import CompSRTError
from engine.attending import frozen
from engine.levels import LEVELS_HERE, forced
from engine.networks import network

pytestmark = pytest.mark.skipif(not engine_available(), reason="the engine is not compiled here")


def runs_of(made: nn.Module, side: int = 16) -> dict[str, LayerRun]:
    return {run.layer: run for run in Engine(made, threads=1).layers(side, side)}


@pytest.mark.parametrize("level", LEVELS_HERE)
def test_linear_layers_and_attention_of_any_network(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forced(level, monkeypatch)
    found = runs_of(frozen())
    in_integers = FLOATS if level == "plain" else INTEGERS
    assert {found[name].runs for name in ("attention", "attention.qkv", "attention.proj")} == {in_integers}
    assert found["first"] == LayerRun("first", FLOATS, "its input is not quantized")


def test_windows_that_are_too_small_are_named() -> None:
    found = runs_of(frozen(window=3), side=6)
    assert found["attention"].runs == PYTORCH and found["attention"].why.startswith("windows of 9 queries")


def test_every_layer_of_swinir() -> None:
    made = network()
    found = runs_of(made)
    block = "layers.0.residual_group.blocks.0."
    assert found[f"{block}mlp.fc1"].runs == found[f"{block}attn"].runs == INTEGERS
    assert found["conv_first"].runs == FLOATS and "floats" in found["conv_first"].why


def test_a_network_that_cannot_be_recorded_is_refused() -> None:
    made = frozen()
    forward = made.forward
    made.forward = lambda x: forward(x) if x.sum() > 0 else x
    with pytest.raises(CompSRTError, match="cannot be recorded for images of 16 × 16: its code depends on values"):
        Engine(made).layers(16, 16)
    x = torch.rand(1, 3, 16, 16)
    assert Engine(made)(x).shape == x.shape


def test_the_table_counts_what_runs_where() -> None:
    text = layers_text([LayerRun("a.long_name", INTEGERS), LayerRun("b", PYTORCH, "windows of 16 tokens")])
    assert text.splitlines()[2] == "b            PyTorch   windows of 16 tokens"
    assert text.endswith("layers: 1 in integers, 0 in compiled floats, 1 in PyTorch")


@pytest.mark.parametrize("file", ["compsrt_x4_3bit.yml"])
def test_command(file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["report", file, "--engine", "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)
    assert {layer["runs"] for layer in layers} == {INTEGERS, FLOATS}
    assert main(["report", file, "--engine"]) == 0
    assert "layers: 168 in integers" in capsys.readouterr().out
