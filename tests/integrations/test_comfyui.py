"""The ComfyUI nodes keep ComfyUI's contract, without ComfyUI."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import types
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import save, small_network
from torch import Tensor, nn

import compsrt_plugin as csr
from compsrt_plugin.packed.bundled import WEIGHTS

pytest.importorskip("spandrel")
FILE = Path(__file__).parents[2] / "integrations" / "comfyui" / "compsrt_nodes.py"
IMAGES = torch.rand(2, 9, 14, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ComfyUI's folder of upscale models, with one of ours and others."""
    folder = tmp_path_factory.mktemp("upscale_models")
    save(folder / "small.safetensors", small_network())
    (folder / "4x-Other.pth").write_bytes(b"")
    return folder


@pytest.fixture
def comfy(models: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The nodes as ComfyUI imports them, with the part of ComfyUI that they use."""
    paths = types.ModuleType("folder_paths")
    paths.get_filename_list = lambda kind: sorted(p.name for p in models.iterdir())  # type: ignore[attr-defined]
    paths.get_full_path = lambda kind, name: str(models / name)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "folder_paths", paths)
    return imported()


def imported() -> ModuleType:
    """Run the file as ComfyUI runs a custom node of one file."""
    spec = importlib.util.spec_from_file_location("compsrt_nodes", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_node_says_what_comfyui_asks_of_it(comfy: ModuleType) -> None:
    assert comfy.NODE_CLASS_MAPPINGS.keys() == comfy.NODE_DISPLAY_NAME_MAPPINGS.keys()
    for node in comfy.NODE_CLASS_MAPPINGS.values():
        inputs = node.INPUT_TYPES()
        assert inputs.keys() <= {"required", "optional", "hidden"}
        for kind, *options in inputs["required"].values():
            assert isinstance(kind, (str, list)) and len(options) <= 1
        assert isinstance(node.RETURN_TYPES, tuple) and isinstance(node.CATEGORY, str)
        parameters = getattr(node, node.FUNCTION).__code__.co_varnames
        assert set(inputs["required"]) <= set(parameters)


def test_bundled_networks_and_own_files_are_offered(comfy: ModuleType) -> None:
    (names,) = comfy.CompSRTUpscale.INPUT_TYPES()["required"]["network"]
    assert "compsrt_x4_3bit" in names and "small.safetensors" in names and "4x-Other.pth" not in names


def test_outside_comfyui_the_bundled_networks_are_offered() -> None:
    assert "compsrt_x4_3bit" in imported().networks()


@pytest.mark.parametrize("network", ["small.safetensors", "compsrt_x2_2bit"])
@pytest.mark.parametrize("channels", [3, 4])
def test_images_come_back_larger(comfy: ModuleType, models: Path, network: str, channels: int) -> None:
    images = torch.cat([IMAGES, IMAGES[..., :1]], 3)[..., :channels]
    (made,) = comfy.CompSRTUpscale().upscale(network, images)
    net = csr.load(models / network if network == "small.safetensors" else network)
    assert made.shape == (2, 9 * net.scale, 14 * net.scale, channels) and made.dtype is torch.float32
    assert made.device.type == "cpu" and float(made.min()) >= 0 and float(made.max()) <= 1
    np.testing.assert_array_equal(made.numpy(), net.upscale(images.numpy()))


def test_every_image_counts_on_the_progress_bar(comfy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    utils = types.ModuleType("comfy.utils")

    class ProgressBar:
        def __init__(self, total: int) -> None:
            counted.append(-total)

        def update(self, value: int) -> None:
            counted.append(value)

    utils.ProgressBar = ProgressBar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "comfy", types.ModuleType("comfy"))
    monkeypatch.setitem(sys.modules, "comfy.utils", utils)
    comfy.CompSRTUpscale().upscale("small.safetensors", IMAGES)
    assert counted == [-2, 1, 1]


def test_a_file_that_was_replaced_is_read_again(comfy: ModuleType, models: Path) -> None:
    name = "replaced.safetensors"
    shutil.copy(models / "small.safetensors", models / name)
    assert comfy._open(name).scale == 4
    shutil.copy(WEIGHTS / "compsrt_x2_2bit.safetensors", models / name)
    assert comfy._open(name).scale == 2
    (models / name).unlink()


def upscale_image_using_model(model: Any, image: Tensor) -> Tensor:
    """What ComfyUI's "Upscale Image (using Model)" does with a model, by its documented interface, without tiles."""
    device = torch.device("cpu")
    model.to(device)
    made = model(image.movedim(-1, -3).to(device).float())
    assert made.shape[-1] == image.shape[2] * model.scale
    return torch.clamp(made.movedim(-3, -1), min=0, max=1.0)


def test_the_loaded_model_is_one_for_comfyuis_own_node(comfy: ModuleType, models: Path) -> None:
    from spandrel import ImageModelDescriptor

    (model,) = comfy.CompSRTLoader().load("small.safetensors")
    assert isinstance(model, ImageModelDescriptor) and not hasattr(model, "patcher")
    made = upscale_image_using_model(model, IMAGES)
    (own,) = comfy.CompSRTUpscale().upscale("small.safetensors", IMAGES)
    torch.testing.assert_close(made, own, rtol=0, atol=1e-6)


def test_comfyuis_own_loader_reads_a_packed_file(comfy: ModuleType, models: Path) -> None:
    from safetensors.torch import load_file
    from spandrel import ImageModelDescriptor, ModelLoader

    model = ModelLoader().load_from_state_dict(load_file(models / "small.safetensors")).eval()
    assert isinstance(model, ImageModelDescriptor)
    assert upscale_image_using_model(model, IMAGES).shape == (2, 36, 56, 3)


def test_newer_versions_get_their_patcher(comfy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def patcher(model: nn.Module, load_device: str, offload_device: str) -> tuple[nn.Module, str, str]:
        return (model, load_device, offload_device)

    found, management, patching = (types.ModuleType(name) for name in ("comfy", "management", "patching"))
    management.get_torch_device = lambda: "there"  # type: ignore[attr-defined]
    management.unet_offload_device = lambda: "here"  # type: ignore[attr-defined]
    patching.CoreModelPatcher = patcher  # type: ignore[attr-defined]
    found.model_management, found.model_patcher = management, patching  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "comfy", found)
    (model,) = comfy.CompSRTLoader().load("small.safetensors")
    assert model.patcher == (model.model, "there", "here")
