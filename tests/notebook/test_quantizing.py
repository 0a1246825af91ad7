"""A network of any class and a few images become a packed file, in one call."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from foreign_networks import BASICSR, foreign_network, spandrel_class, weight_file
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import compsrt_plugin as csr
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.open import open_packed
from compsrt_plugin.quant import distinct_codes

IMAGES = [np.random.default_rng(i).integers(0, 256, (24, 30, 3), dtype=np.uint8) for i in range(3)]
FEW = {"patches": 4, "patch_size": 16}


class Mine(nn.Module):
    """A network that nobody knows."""

    def __init__(self, width: int = 12, scale: int = 2, gain: float = 1.0) -> None:
        super().__init__()
        self.scale, self.gain = scale, gain
        self.first, self.norm = nn.Conv2d(3, width, 3, padding=1), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.last = nn.Conv2d(width, 3 * scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.down(F.gelu(self.up(self.norm(x.movedim(1, -1))))).movedim(-1, 1)
        return F.pixel_shuffle(self.last(x + self.gain * y), self.scale)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty current folder, and the registry as it was."""
    monkeypatch.chdir(tmp_path)
    known = dict(ARCH_REGISTRY._obj_map)
    yield
    ARCH_REGISTRY._obj_map.clear()
    ARCH_REGISTRY._obj_map.update(known)


def swinir(**other: Any) -> nn.Module:
    torch.manual_seed(0)
    from basicsr.archs.swinir_arch import SwinIR

    return SwinIR(**{**BASICSR["SwinIR"], "upsampler": "pixelshuffledirect", **other})


def close(net: csr.Upscaler, network: nn.Module) -> float:
    """Return the quantized network's error, as a share of the spread of the full-precision output."""
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, found = network.eval()(image), open_packed(net.path).network(image)
    return float((found - wanted).square().mean().sqrt() / wanted.std())


def test_a_class_of_ones_own_becomes_a_packed_file_and_does_not_change() -> None:
    network = Mine().train()
    before = copy.deepcopy(network.state_dict())
    net = csr.quantize(network, IMAGES, bits=4, out="mine.safetensors", calibration=FEW)
    assert (net.path, net.scale, net.bits) == (Path("mine.safetensors"), 2, 4)
    assert net.upscale(IMAGES[0]).shape == (48, 60, 3)
    assert close(net, network) < 0.2
    assert network.state_dict().keys() == before.keys() and type(network.up) is nn.Linear
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_codes_are_at_most_as_many_as_the_bits_hold() -> None:
    net = csr.quantize(Mine(), IMAGES, bits=3, calibration=FEW, guard=None)
    assert net.path.name == "mine_x2_3bit.safetensors" and net.path.is_file()
    source = open_packed(net.path)
    counts = distinct_codes(source.network, [torch.rand(1, 3, 16, 16)])
    linear = {name: count for name, count in counts.items() if name.startswith(("up", "down"))}
    assert len(linear) == 4 and max(linear.values()) <= 8


def test_the_same_call_writes_the_same_file() -> None:
    network = Mine()
    names = ("one/mine.safetensors", "two/mine.safetensors")
    for name in names:
        csr.quantize(network, IMAGES, out=name, calibration=FEW)
    assert Path(names[0]).read_bytes() == Path(names[1]).read_bytes()


def test_a_file_of_an_own_class_is_loaded_by_its_class() -> None:
    csr.quantize(Mine(width=16), IMAGES, out="mine.safetensors", arguments={"width": 16}, calibration=FEW)
    del ARCH_REGISTRY._obj_map["Mine"]  # as in another session
    with pytest.raises(CompSRTError, match="'Mine'"):
        csr.load("mine.safetensors")
    assert csr.load("mine.safetensors", network_class=Mine).upscale(IMAGES[0]).shape == (48, 60, 3)


def test_a_swinir_is_found_out_and_runs_in_the_engine_as_a_whole() -> None:
    pytest.importorskip("spandrel")
    network = swinir()
    net = csr.quantize(network, IMAGES, calibration=FEW)
    assert open_packed(net.path).header.arch["type"] == "CompSRTSwinIR"
    assert net.engine and close(net, network) < 0.2


def test_arguments_of_a_swinir_replace_spandrel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    arguments = {**BASICSR["SwinIR"], "upsampler": "pixelshuffledirect"}
    net = csr.quantize(swinir(), IMAGES, arguments=arguments, calibration=FEW)
    assert open_packed(net.path).header.arch["type"] == "CompSRTSwinIR"


@pytest.mark.parametrize("kind", ["module", "descriptor", "file"])
def test_networks_that_spandrel_knows_need_no_arguments(kind: str, tmp_path: Path) -> None:
    spandrel_class("DAT")
    import spandrel

    network: Any = foreign_network("DAT")
    given = network
    if kind != "module":
        given = weight_file("DAT", tmp_path)
    if kind == "descriptor":
        given = spandrel.ModelLoader().load_from_file(given)
    net = csr.quantize(given, IMAGES, bits=8, calibration=FEW)
    assert net.path.name == "dat_x4_8bit.safetensors"
    assert close(net, network) < 0.1


def test_a_network_of_convolutions_alone_is_quantized() -> None:
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    arguments = {"num_feat": 12, "num_conv": 2, "upscale": 2, "act_type": "prelu"}
    network = SRVGGNetCompact(**arguments)
    net = csr.quantize(network, IMAGES, arguments=arguments, calibration=FEW)
    assert close(net, network) < 0.02


@pytest.mark.parametrize("kind", ["uint16", "float", "grey", "rgba", "pil", "tensor", "batch", "files", "folder"])
def test_images_of_every_kind_calibrate(kind: str) -> None:
    Path("photos").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(f"photos/{number}.png")
    whole = np.stack(IMAGES)
    given: Any = {
        "uint16": whole.astype(np.uint16) * 257,
        "float": [image / 255 for image in IMAGES],
        "grey": whole[..., 0],
        "rgba": [np.dstack([image, image[..., :1]]) for image in IMAGES],
        "pil": [Image.fromarray(image) for image in IMAGES],
        "tensor": torch.from_numpy(IMAGES[0]).movedim(-1, 0),
        "batch": torch.from_numpy(whole).movedim(-1, 1) / 255,
        "files": ["photos/0.png", Path("photos/1.png")],
        "folder": "photos",
    }[kind]
    if kind == "grey":
        given = list(given)
    net = csr.quantize(Mine(), given, calibration=FEW)
    about = open_packed(net.path).header.provenance["calibration"]
    count = {"tensor": 1, "files": 2}.get(kind, 3)
    assert about == f"4 patches of 16 x 16 pixels from {count} images"


def test_patches_of_files_are_those_of_their_pixels() -> None:
    Path("photos").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(f"photos/{number}.png")
    network = Mine()
    one = csr.quantize(network, "photos", out="one.safetensors", calibration=FEW)
    two = csr.quantize(network, IMAGES, out="two.safetensors", calibration=FEW)
    assert close(one, open_packed(two.path).network) == 0


def test_the_log_of_a_run_is_not_shown(basicsr_log: pytest.LogCaptureFixture) -> None:
    level = logging.getLogger("basicsr").level
    csr.quantize(Mine(), IMAGES, calibration=FEW)
    assert "Quantization:" not in basicsr_log.text
    assert logging.getLogger("basicsr").level == level


class Gain(Mine):
    """Its gain changes no shape, so that only its output tells."""


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: csr.quantize(3, IMAGES), "the network is a int; allowed: a torch.nn.Module, a model that spandrel"),
        (lambda: csr.quantize(Mine().half(), IMAGES), r"the network is float16; .*call .float\(\) first"),
        (lambda: csr.quantize(nn.Identity(), IMAGES), "the network has no weights"),
        (lambda: csr.quantize("none.pth", IMAGES), "no such file: none.pth"),
        (lambda: csr.quantize(Mine(16), IMAGES), r"Mine cannot be built again .*arguments of Mine: width, scale, gain"),
        (lambda: csr.quantize(Mine(), IMAGES, arguments={"wdth": 16}), "unexpected keyword argument 'wdth'"),
        (
            lambda: csr.quantize(Mine(), IMAGES, arguments={"width": nn}),
            "the argument width of this network is a modul",
        ),
        (lambda: csr.quantize(Gain(gain=3.0), IMAGES), "built again it computes something else"),
        (lambda: csr.quantize(Mine(), []), "there are no calibration images; allowed: files, folders"),
        (lambda: csr.quantize(Mine(), {"a": 1}), "the calibration images are a dict"),
        (lambda: csr.quantize(Mine(), IMAGES[0][:9]), "a calibration image has 30 x 9 pixels; allowed: at least 16 x"),
        (lambda: csr.quantize(Mine(), "nowhere"), "no such file or folder: nowhere"),
        (lambda: csr.quantize(Mine(), IMAGES, bits=9), r"quant.bits is 9"),
        (lambda: csr.quantize(Mine(), IMAGES, recpe="plus"), r"recpe.*did you mean"),
        (lambda: csr.quantize(Mine(), IMAGES, recipe="puls"), "did you mean 'plus'"),
        (lambda: csr.quantize(Mine(), IMAGES, out="x.pth"), "out x.pth ends in .pth; allowed: .safetensors"),
        (lambda: csr.load("compsrt_x4_3bit", network_class=3), "network_class is 3; allowed: a subclass of torch.nn"),
    ],
)
def test_what_cannot_be_done_is_one_line(call: Any, says: str) -> None:
    with pytest.raises(CompSRTError, match=says) as error:
        call()
    assert "\n" not in str(error.value)
    assert list(Path().glob("*.safetensors")) == []


def test_a_name_that_another_class_has_is_refused() -> None:
    class EDSR(Mine):
        """A name that BasicSR has."""

    with pytest.raises(CompSRTError, match=r"the name EDSR is taken by basicsr.archs.edsr_arch.EDSR; give the cl"):
        csr.quantize(EDSR(), IMAGES, calibration=FEW)
