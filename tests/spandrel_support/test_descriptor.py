"""spandrel's own loader gives an ordinary image model for a packed file."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_networks import save, small_network
from torch.testing import assert_close

import compsrt_plugin as csr
from compsrt_plugin import spandrel_support
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.bundled import bundled_networks, checkpoint_path

csr.register()  # repairs what spandrel's import of torchvision needs
spandrel = pytest.importorskip("spandrel")
VERSION_2 = Path(__file__).parents[1] / "packed" / "version2.safetensors"
ODD = torch.rand(1, 3, 13, 21, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("network") / "small.safetensors", small_network())


@pytest.fixture
def loader() -> spandrel.ModelLoader:
    """A loader with a registry of its own."""
    registry = spandrel.MAIN_REGISTRY.copy()
    spandrel_support.install(registry)
    spandrel_support.install(registry)
    return spandrel.ModelLoader(registry=registry)


def test_a_packed_file_is_an_ordinary_image_model(loader: spandrel.ModelLoader, packed: Path) -> None:
    found = loader.load_from_file(packed)
    assert isinstance(found, spandrel.ImageModelDescriptor)
    assert (found.architecture.id, found.purpose, found.tags) == ("CompSRT", "SR", ["3bit", "compsrt"])
    assert (found.scale, found.input_channels, found.output_channels) == (4, 3, 3)
    assert (found.device, found.dtype) == (torch.device("cpu"), torch.float32)
    made = found.eval()(ODD)
    assert made.shape == (1, 3, 52, 84) and made.dtype is torch.float32
    assert_close(made, csr.load(packed).upscale(ODD), rtol=0, atol=0)


def test_the_engine_and_the_simulated_network_agree(loader: spandrel.ModelLoader, packed: Path) -> None:
    model = loader.load_from_file(packed).model
    assert model.by_engine
    by_engine = model(ODD)
    model.by_engine = False
    assert_close(by_engine, model(ODD), rtol=0, atol=2e-3)


def test_half_precision_is_refused_by_spandrel(loader: spandrel.ModelLoader, packed: Path) -> None:
    found = loader.load_from_file(packed)
    assert not found.supports_half and not found.supports_bfloat16
    for change in (found.half, found.bfloat16, lambda: found.to(torch.float16)):
        with pytest.raises(Exception, match="does not support") as error:
            change()
        assert type(error.value).__name__ == "UnsupportedDtypeError"


def test_a_model_that_was_converted_runs_in_pytorch_and_comes_back(loader: spandrel.ModelLoader, packed: Path) -> None:
    found = loader.load_from_file(packed)
    before = found(ODD)
    engine = found.model._engine
    assert found.to("cpu").model._engine is engine  # nothing moved: ComfyUI does so after each image
    assert found.to(dtype=torch.float64)(ODD.double()).dtype is torch.float64
    assert found.model._engine is None
    assert_close(found.float()(ODD), before, rtol=0, atol=0)


def test_a_copy_computes_the_same(loader: spandrel.ModelLoader, packed: Path) -> None:
    found = loader.load_from_file(packed)
    assert_close(copy.deepcopy(found.model)(ODD).clamp(0, 1), found(ODD), rtol=0, atol=0)


def test_a_file_of_an_older_version_says_how_to_write_it_again(loader: spandrel.ModelLoader) -> None:
    with pytest.raises(CompSRTError, match=r"no tensor 'header'; .*basicsr export OLD.safetensors --out NEW"):
        loader.load_from_file(VERSION_2)


def test_every_bundled_file_loads_by_its_path(loader: spandrel.ModelLoader) -> None:
    for network in bundled_networks():
        assert loader.load_from_file(network.path).scale == network.scale


def test_paths_and_bundled_names_load_by_our_own_function() -> None:
    for source in ("compsrt_x2_2bit", checkpoint_path(2, 2)):
        found = spandrel_support.load(source)
        assert isinstance(found, spandrel.ImageModelDescriptor)
        assert (found.scale, found.tags) == (2, ["2bit", "plus"])


def test_other_files_are_still_what_they_were(loader: spandrel.ModelLoader, tmp_path: Path) -> None:
    from spandrel.architectures.SPAN import SPAN

    torch.save(SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).state_dict(), tmp_path / "span.pth")
    assert loader.load_from_file(tmp_path / "span.pth").architecture.id == "SPAN"


def test_install_without_an_argument_reaches_every_loader(packed: Path) -> None:
    """In a process of its own, since spandrel's registry is one for all."""
    code = f"""
import compsrt_plugin.spandrel_support
compsrt_plugin.spandrel_support.install()
from spandrel import ModelLoader
print(ModelLoader().load_from_file({str(packed)!r}).scale)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "4\n"


def test_without_spandrel_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    for call in (spandrel_support.install, lambda: spandrel_support.load("compsrt_x4_3bit")):
        with pytest.raises(CompSRTError, match=r"spandrel, .* is missing; pip install"):
            call()
