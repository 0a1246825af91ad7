"""What users get wrong with foreign networks: one line, exit code 2."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_networks import BASICSR, weight_file
from places import Place

from compsrt_plugin.cli.main import main
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.zoo import SizeRule, build_base, find_rule

EDSR = {"type": "EDSR", **BASICSR["EDSR"]}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "no base": ({}, r"network_g has no base; allowed: base: \{type: HAT"),
    "no mapping": ({"base": "EDSR"}, r"network_g\.base is 'EDSR'; allowed: \{type"),
    "two kinds": ({"base": {"type": "EDSR", "file": "x.pth"}}, r"network_g\.base has the keys type, file"),
    "unknown type": ({"base": {"type": "EDSRR"}}, r"unknown type in network_g\.base: 'EDSRR'.*did you mean 'EDSR'\?"),
    "quantized type": ({"base": {"type": "CompSRTSwinIR"}}, r"unknown type in network_g\.base: 'CompSRTSwinIR'"),
    "unknown argument": ({"base": {**EDSR, "blocks": 3}}, r"EDSR: got an unexpected keyword argument 'blocks'; allow"),
    "missing argument": ({"base": {"type": "EDSR"}}, r"EDSR: missing a required argument: 'num_in_ch'; allowed"),
    "wrong argument": ({"base": {**EDSR, "upscale": 5}}, r"EDSR cannot be built with these arguments \(scale 5 is"),
    "huge argument": ({"base": {**EDSR, "num_feat": 10**9}}, r"base\.num_feat is 1000000000; allowed: up to 100,000"),
    "another scale": ({"base": {**EDSR, "upscale": 2}}, r"network_g\.upscale is 2, scale is 4; allowed: equal values"),
    "unknown key": ({"base": EDSR, "bits": 4}, r"unknown key in network_g: 'bits'"),
    "wrong size": ({"base": EDSR, "size": {"multiple": 8}}, r"unknown key in network_g\.size: 'multiple'"),
    "no weights": ({"base": EDSR}, r"path\.pretrain_network_g is empty; allowed: the full-precision weights"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_block_ends_in_one_line(case: str, place: Place, capsys: pytest.CaptureFixture[str]):
    block, says = CASES[case]
    place.train["network_g"] = {"type": "CompSRTNet", **block}
    if case == "no weights":
        place.train["path"]["pretrain_network_g"] = None
    assert place.run("train") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("basicsr: error: ")
    assert re.search(says, error), error


def test_a_file_that_spandrel_does_not_know_ends_in_one_line(tmp_path: Path):
    pytest.importorskip("spandrel")
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.rand(3, 3)}, path)
    with pytest.raises(CompSRTError, match=r"other\.pth is of no architecture that spandrel .* knows; name its class"):
        build_base({"file": str(path)})


def test_a_file_that_is_not_there_ends_in_one_line():
    pytest.importorskip("spandrel")
    with pytest.raises(CompSRTError, match=r"no such file: nowhere\.pth"):
        build_base({"file": "nowhere.pth"})


def test_without_spandrel_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(CompSRTError, match=r"spandrel, .*, is missing; pip install spandrel"):
        build_base({"file": "any.pth"})


def test_weights_of_another_network_are_refused(tmp_path: Path):
    from compsrt_plugin.archs.compsrt_net_arch import CompSRTNet
    from compsrt_plugin.packed.network_weights import load_full_precision

    network = CompSRTNet(base=EDSR)
    torch.save({"params": {"conv_first.weight": torch.rand(4, 3, 3, 3)}}, tmp_path / "w.pth")
    with pytest.raises(CompSRTError, match=r"w\.pth does not fit this CompSRTNet: 1 of \d+ tensors have another shape"):
        load_full_precision(network, str(tmp_path / "w.pth"))
    other = CompSRTNet(base={"file": str(weight_file("OmniSR", tmp_path))})
    with pytest.raises(CompSRTError, match=r"DAT\.pth is another DAT than network_g's"):
        load_full_precision(other, str(weight_file("DAT", tmp_path)))


def test_a_header_names_no_class_of_its_own_choosing():
    pytest.importorskip("spandrel")
    with pytest.raises(CompSRTError, match="unknown class of HAT 'Linear'"):
        build_base({"spandrel": "HAT", "class": "Linear", "arguments": {}})
    with pytest.raises(CompSRTError, match="unknown architecture of spandrel 'os'"):
        build_base({"spandrel": "os", "class": "system", "arguments": {}})


class Windows(torch.nn.Module):
    """Takes multiples of `window` from `least` on, squares only if asked."""

    def __init__(self, window: int, least: int = 1, square: bool = False) -> None:
        super().__init__()
        self.window, self.least, self.square = window, least, square
        self.conv = torch.nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        if height % self.window or width % self.window or min(height, width) < self.least:
            raise RuntimeError("shape is invalid for input of size")
        if self.square and height != width:
            raise RuntimeError("not square")
        return torch.nn.functional.interpolate(self.conv(x), scale_factor=3.0)


RULES = [SizeRule(), SizeRule(8, 8), SizeRule(7, 28), SizeRule(16, 32, True), SizeRule(12, 12)]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_sizes_are_found_out(rule: SizeRule):
    assert find_rule(Windows(rule.multiple_of, rule.minimum, rule.square), 3) == (rule, 3)


def test_a_network_that_takes_no_size_is_told_with_what_it_said():
    with pytest.raises(CompSRTError, match=r"Windows takes no image .* \(shape is invalid .*\); say what it needs"):
        find_rule(Windows(1000), 3)


def test_pictures_are_padded_to_the_next_size_that_is_allowed():
    rule = SizeRule(8, 16, square=True)
    assert rule.fit(5, 3) == (16, 16) and rule.fit(17, 30) == (32, 32)
    x = torch.rand(1, 3, 5, 3)
    padded = rule.pad(x)
    assert torch.equal(padded[:, :, :5, :3], x) and torch.equal(padded[:, :, 15, 15], x[:, :, 4, 2])


def test_a_file_of_ones_own_that_fails_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for text, says in (
        ("import nothing_of_that_name", "fails when it runs: ModuleNotFoundError"),
        ("x = 1", "defines no torch.nn.Module"),
        ("from torch import nn\nclass EDSR(nn.Module):\n    pass", "the name EDSR is taken; give the class another"),
    ):
        path = tmp_path / "mine.py"
        path.write_text(text)
        assert main(["report", "any.safetensors", "--arch", str(path)]) == 2
        assert says in capsys.readouterr().err
    assert main(["report", "any.safetensors", "--arch", "nowhere.py"]) == 2
    assert "no such file: nowhere.py" in capsys.readouterr().err
