"""docs/your_own_network.md, done as it says."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pages
import pytest
import torch
import yaml

import compsrt_plugin  # noqa: F401
from compsrt_plugin.cli.main import main
from compsrt_plugin.packed import read_packed
from compsrt_plugin.quant import NetworkSpec, QuantLinear, convert, named_quantizers

PAGE = pages.read("docs/your_own_network.md")
PYTHON, YAML = pages.blocks(PAGE, "python"), pages.blocks(PAGE, "yaml")
COMMANDS = re.findall(r"^basicsr (.*)$|`basicsr (export [^`]*)`", PAGE, re.MULTILINE)


@pytest.fixture
def folder(place: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page asks for: the class, its weights, pictures."""
    here = Path("mine").absolute()
    here.mkdir()
    monkeypatch.chdir(here)
    Path("my_net.py").write_text(PYTHON[0])
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.delitem(sys.modules, "my_net", raising=False)
    torch.manual_seed(0)
    network = runpy.run_path("my_net.py")["MyNet"]()
    torch.save(network.state_dict(), "my_net.pth")
    from training.tiny_run import write_inputs

    write_inputs(here)
    return here


def test_the_page_is_done_as_it_says(folder: Path, capsys: pytest.CaptureFixture[str]):
    train, test = (yaml.safe_load(text) for text in YAML)
    # the same, but small
    train["train"].update(total_iter=2)
    train["train"]["optim_g"]["lr"] = 2e-3
    train["datasets"]["train"]["gt_size"] = 64
    train["val"]["val_freq"] = 2
    train["quant"]["calibration"] = {"patches": 2, "patch_size": 16}
    Path("my.yml").write_text(yaml.safe_dump(train))
    Path("my_test.yml").write_text(yaml.safe_dump(test))
    packed = "experiments/my_net_4bit/models/my_net_4bit.safetensors"
    commands = [(a or b).replace("FILE", packed) for a, b in COMMANDS]
    assert [command.split()[0] for command in commands] == ["train", "report", "test", "export"]
    for command in commands:
        assert main(command.split()) == 0, command
    out = capsys.readouterr().out
    assert "body.0.to_qkv" in out and "attention" in out
    log = "".join(path.read_text() for path in Path("experiments/my_net_4bit").glob("train_*.log"))
    assert "Distillation compares the outputs of body.0, body.1" in log
    dense = torch.load("dense.pth", weights_only=True)["params"]
    runpy.run_path("my_net.py")["MyNet"]().load_state_dict(dense, strict=True)
    assert main(["test", "-opt", "my_test.yml", "--arch", "my_net.py", "--force_yml", "path:pretrain_network_teacher=~",
                 "name=alone"]) == 0  # fmt: skip


def test_the_adapter_of_the_page_does_what_is_said_of_it(folder: Path):
    assert len(PYTHON[1].splitlines()) < 40
    from compsrt_plugin.quant.convert import ADAPTERS

    before = dict(ADAPTERS)
    try:
        runpy.run_path(str(_write(folder / "adapter.py", PYTHON[1])))
        network = convert(sys.modules["my_net"].MyNet(), NetworkSpec())
    finally:
        ADAPTERS.clear()
        ADAPTERS.update(before)
    widths = {name: quantizer.spec.bits for name, quantizer in named_quantizers(network)}
    assert widths["body.0.mlp.0.input"] == widths["body.0.mlp.0.weight"] == 8
    assert widths["body.0.mlp.2.input"] == widths["body.0.mlp.2.weight"] == 4
    assert not any("qkv" in name or "out" in name for name in widths)
    assert isinstance(network.get_submodule("body.1.mlp.0"), QuantLinear)
    assert network(torch.rand(1, 3, 8, 16)).shape == (1, 3, 32, 64)


def test_the_adapter_may_lie_in_a_second_file(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(folder)])
    train = yaml.safe_load(YAML[0])
    train["train"].update(total_iter=0)
    train["val"], train["datasets"]["train"]["gt_size"] = None, 64
    train["quant"]["calibration"] = {"patches": 1, "patch_size": 16}
    Path("my.yml").write_text(yaml.safe_dump(train))
    code = ["--code", "my_net.py", "--code", str(_write(folder / "adapter.py", PYTHON[1]))]
    assert main(["train", "-opt", "my.yml", *code]) == 0
    bits = read_packed("experiments/my_net_4bit/models/my_net_4bit.safetensors").code_bits
    assert (bits["body.0.mlp.0.weight_codes"], bits["body.0.mlp.2.weight_codes"]) == (8, 4)
    assert not any("qkv" in name for name in bits)


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
