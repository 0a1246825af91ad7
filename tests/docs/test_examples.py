"""Python examples of the guides run as they are printed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from PIL import Image

import compsrt_plugin as csr
from compsrt_plugin.cli.main import main
from compsrt_plugin.packed.bundled import checkpoint_path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, and registries that forget the classes of an example."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ARCH_REGISTRY, "_obj_map", dict(iter(ARCH_REGISTRY)))


def examples(name: str) -> list[str]:
    found = pages.blocks(pages.read(name), "python")
    assert found
    return found


@pytest.mark.parametrize("name", ["README.md", "docs/in_pytorch.md"])
def test_any_module_is_quantized(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [example for example in examples(name) if "convert(" in example]
    pages.run(example)
    counts = [int(n) for n in re.findall(r": (\d+)", capsys.readouterr().out)]
    assert len(counts) == 4 and max(counts) <= 8


def test_the_zoo_opens_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = examples("docs/zoo.md")
    pages.run(example)
    assert "520,933" in capsys.readouterr().out


def test_images_are_enlarged_and_networks_quantized_from_python() -> None:
    from foreign_networks import weight_file  # skips without spandrel

    weight_file("DAT", Path()).rename("dat_light_x4.pth")
    Image.fromarray(np.zeros((6, 9, 3), np.uint8)).save("photo.png")
    Path("photos").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/{number}.png")
    names: dict[str, object] = {}
    for example in examples("docs/python.md"):
        pages.run(example, names)
    assert Image.open("photo_large.png").size == (36, 24)
    assert Path("dat_4bit.safetensors").is_file() and Path("my_net.safetensors").is_file()
    loaded = csr.load("my_net.safetensors", network_class=names["MyNet"])  # type: ignore[arg-type]
    assert (loaded.scale, loaded.bits) == (2, 4)


def test_other_tools_load_packed_files() -> None:
    pytest.importorskip("spandrel")
    shutil.copy(checkpoint_path(4, 3), "old.safetensors")
    (command,) = [command for command in pages.commands(pages.read("docs/tools.md")) if "old.safetensors" in command]
    assert main(command) == 0
    Path("new.safetensors").rename("mine.safetensors")
    names: dict[str, Any] = {}
    for example in examples("docs/tools.md"):
        pages.run(example, names)
    assert names["large"].shape == (1, 3, 192, 256)
    assert names["model"].scale == 4


def test_large_images_are_run_in_tiles() -> None:
    (example,) = examples("docs/large_images.md")
    names = pages.run(example)
    whole, pixels = names["whole"], names["pixels"]
    assert whole.shape == (1, 3, 1200, 1600)
    assert torch.equal(whole[:, :, -pixels.shape[2] :, -pixels.shape[3] :], pixels)


def test_the_engine_runs_a_packed_file() -> None:
    shutil.copy(checkpoint_path(4, 3), "FILE.safetensors")
    (example,) = examples("docs/engine.md")
    assert pages.run(example, {"lq": torch.zeros(1, 3, 8, 16)})["sr"].shape == (1, 3, 32, 64)


def test_onnx_runtime_runs_the_export() -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    shutil.copy(checkpoint_path(4, 3), "compsrt_x4_3bit.safetensors")
    page = pages.read("docs/onnx.md")
    (command,) = pages.commands(page)
    assert main(command) == 0
    (example,) = examples("docs/onnx.md")
    assert pages.run(example, {"lq": np.zeros((1, 3, 5, 9), np.float32)})["sr"].shape == (1, 3, 20, 36)


def test_the_readme_enlarges_an_image() -> None:
    Image.fromarray(np.zeros((6, 9, 3), np.uint8)).save("photo.png")
    (example,) = [example for example in examples("README.md") if "csr." in example]
    pages.run(example)
    assert Image.open("large.png").size == (36, 24)
