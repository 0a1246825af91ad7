"""A URL stands for the file that it names, for every command and function that takes a packed file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import save, small_network

import compsrt_plugin as csr
from compsrt_plugin.cli.main import main
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.open import find_packed


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save(tmp_path_factory.mktemp("network") / "small.safetensors", small_network()).read_bytes()


def test_a_url_is_downloaded_once_by_load_upscale_and_report(
    server, packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((9, 11, 3), np.uint8)).save("a.png")
    url = server.serve("/releases/mine.safetensors?download=1", packed)
    network = csr.load(url)
    assert network.scale == 4 and network.info().path == find_packed(url)
    assert main(["upscale", "a.png", "-o", "large.png", "--model", url]) == 0
    assert Image.open("large.png").size == (44, 36)
    capsys.readouterr()
    assert main(["report", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]
    assert len(server.asked) == 1


def test_weights_of_convolutions_run_from_their_url(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    monkeypatch.chdir(tmp_path)
    torch.save(SRVGGNetCompact(num_feat=16, num_conv=2, upscale=4, act_type="prelu").state_dict(), "compact.pth")
    Image.fromarray(np.zeros((9, 11, 3), np.uint8)).save("a.png")
    url = server.serve("/compact.pth", Path("compact.pth").read_bytes())
    for out in ("one.png", "two.png"):
        assert main(["upscale", "a.png", "-o", out, "--model", url]) == 0
        assert Image.open(out).size == (44, 36)
    assert server.asked == ["/compact.pth"]


def test_an_option_file_may_name_a_url(server, packed: bytes, own_cache: Path) -> None:
    url = server.serve("/mine.safetensors", packed)
    found = find_packed("compsrt_x4_3bit.yml", [f"path:pretrain_network_g={url}"])
    assert found.parent == own_cache / "weights" and found.read_bytes() == packed


def test_an_address_that_is_no_network_ends_in_one_line(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((9, 11, 3), np.uint8)).save("a.png")
    for url, says in (
        (server.serve("/page", b"<!doctype html><p>not found"), "is a web page (HTML); allowed: a packed network"),
        (f"{server.address}/none", "answers 404"),
        ("ftp://host/file", "cannot download ftp://host/file; allowed: a path, http:// or https://"),
    ):
        assert main(["upscale", "a.png", "-o", "out.png", "--model", url]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line and not Path("out.png").exists()
        with pytest.raises(CompSRTError, match=r"web page|404|ftp"):
            csr.load(url)
