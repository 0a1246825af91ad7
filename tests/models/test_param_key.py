"""`path.param_key_g` means the same entry of a weight file wherever a run reads full-precision weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from places import Place
from safetensors.torch import load_file

from compsrt_plugin.archs.compsrt_net_arch import CompSRTNet
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.network_weights import load_full_precision
from compsrt_plugin.packed.networks import check_network_block
from compsrt_plugin.training.stronger_network import read_stronger

from .test_teacher_model import write_stronger

KEYS = ("params", "params_ema")


def two_entries(source: dict[str, torch.Tensor], path: str) -> dict[str, dict[str, torch.Tensor]]:
    """Write a file as BasicSR does with `ema_decay`, whose entries differ; returns them."""
    entries = {
        key: {name: t + 0.01 * index if t.is_floating_point() else t for name, t in source.items()}
        for index, key in enumerate(KEYS)
    }
    torch.save(entries, path)
    return entries


def psnr(place: Place, method: str, *forced: str) -> float:
    assert place.run("test", "--force_yml", "val:save_img=false", *forced) == 0
    results = json.loads(Path("results/run/results.json").read_text())
    return results["datasets"]["Mine"][method]["psnr"]


@pytest.mark.parametrize("key", [*KEYS, None])
def test_the_teacher_of_a_test_is_the_network_that_a_test_without_quantizers_judges(key: str | None, place: Place):
    two_entries(load_file(place.files["x4"]), "both.pth")
    asked = [] if key is None else [f"path:param_key_g={key}"]
    plain = psnr(place, "quantized", "quant=null", "path:pretrain_network_g=both.pth", *asked)
    assert psnr(place, "teacher", "path:pretrain_network_teacher=both.pth", *asked) == plain
    taken = key or "params_ema"
    (other,) = set(KEYS) - {taken}
    assert psnr(place, "teacher", "path:pretrain_network_teacher=both.pth", f"path:param_key_g={other}") != plain


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The weights of student and teacher, where a training would begin; it is broken off there."""
    from compsrt_plugin.models.compsrt_model import CompSRTModel

    seen: list[dict[str, torch.Tensor]] = []

    def noted(self: CompSRTModel) -> None:
        seen.extend({k: v.clone() for k, v in network.state_dict().items()} for network in (self.net_g, self.teacher))
        raise CompSRTError("seen")

    monkeypatch.setattr(CompSRTModel, "init_training_settings", noted)
    return seen


def test_a_training_starts_from_the_network_that_it_learns_from(place: Place, loaded: list[dict[str, torch.Tensor]]):
    entries = two_entries(load_file(place.files["x4"]), "both.pth")
    place.train["path"].update(pretrain_network_g="both.pth", param_key_g="params")
    assert place.run("train") == 2
    assert len(loaded) == 2
    for state in loaded:
        assert all(torch.equal(state[name], entries["params"][name]) for name in entries["params"])


def test_the_entry_may_stand_beside_the_file_that_describes_the_network(
    place: Place, loaded: list[dict[str, torch.Tensor]], capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("spandrel")
    write_stronger("whole.pth", scale=4)
    entries = two_entries(torch.load("whole.pth", weights_only=True)["params"], "both.pth")
    place.train["network_g"] = {"type": "CompSRTNet", "base": {"file": "both.pth", "param_key": "params"}}
    place.train["path"]["pretrain_network_g"] = None
    assert place.run("train") == 2
    name = "conv_first.weight"
    assert [torch.equal(state[name], entries["params"][name]) for state in loaded] == [True, True]
    assert place.run("train", "--force_yml", "path:param_key_g=params_ema") == 2
    assert "base.param_key is params, path.param_key_g is params_ema; leave one" in capsys.readouterr().err


@pytest.mark.parametrize("key", KEYS)
def test_a_file_that_spandrel_reads_gives_the_same_entry_to_all(key: str):
    pytest.importorskip("spandrel")
    write_stronger("whole.pth", scale=4)
    entries = two_entries(torch.load("whole.pth", weights_only=True)["params"], "both.pth")
    arch = check_network_block({"type": "CompSRTNet", "base": {"file": "both.pth"}}, 4, param_key=key)
    network = CompSRTNet(base=arch["base"], upscale=4, size=arch["size"])
    load_full_precision(network, "both.pth", key)
    opt: dict[str, Any] = {
        "scale": 4, "path": {"param_key_g": key}, "network_g": {}, "datasets": {"train": {"gt_size": 64}}, "train": {},
    }  # fmt: skip
    named = CompSRTNet(base={"file": "both.pth", "param_key": key})
    for found in (network, named, read_stronger("both.pth", opt).network):
        assert torch.equal(found.state_dict()["conv_first.weight"], entries[key]["conv_first.weight"])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
