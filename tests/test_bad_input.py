"""Bad input through the whole command: one line, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
import pytest
import torch
from places import Place
from safetensors.torch import save_file
from small_networks import ARCH

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.cli import main
from compsrt_plugin.data.resize import downscale


class Trap:
    """What a pickle holds that makes the folder `sprung` when it is loaded carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sprung",)


BAD: dict[str, tuple[str, str, Callable[[Place], object]]] = {}
Spoil = Callable[[Place], object]  # spoils the place; may return flags for the command


def bad(says: str, command: str = "test") -> Callable[[Spoil], Spoil]:
    """Return a decorator that enters a function as a case of `BAD`: what the command must then say."""

    def enter(spoil: Spoil) -> Spoil:
        BAD[spoil.__name__] = (command, says, spoil)
        return spoil

    return enter


# data


@bad(r"data set Mine: dataroot_gt nowhere is not a folder; check the path")
def strict_data_missing(at: Place) -> object:
    at.data["dataroot_gt"] = "nowhere"
    return ["--strict-data"]


@bad(r"none of the data sets is there, nothing was tested")
def no_data_at_all(at: Place) -> None:
    at.data["dataroot_gt"] = "nowhere"


@bad(r"dataroot_gt nowhere is not a folder", "train")
def training_data_missing(at: Place) -> None:
    at.train["datasets"]["train"]["dataroot_gt"] = "nowhere"


@bad(r"datasets\.test_1\.dataroot_gt nowhere is not a folder; check the path")
def data_of_basicsrs_own_set_missing(at: Place) -> None:
    at.data.update(type="PairedImageDataset", dataroot_gt="nowhere")


@bad(r"the picture LR/px4\.png is empty \(0 bytes\); copy it again or remove it")
def empty_picture(at: Place) -> None:
    at.lr.write_bytes(b"")


@bad(r"the picture LR/px4\.png is damaged \(.*\); copy it again or remove it")
def truncated_picture(at: Place) -> None:
    at.lr.write_bytes(at.lr.read_bytes()[:100])


@bad(r"the picture HR/p\.png is damaged \(.*checksum.*\); copy it again")
def flipped_bit_in_a_picture(at: Place) -> None:
    content = bytearray(at.hr.read_bytes())
    content[len(content) // 2] ^= 1
    at.hr.write_bytes(content)


@bad(r"LR/px4\.png is not a picture; allowed: .*PNG.*; remove it from this folder")
def page_instead_of_a_picture(at: Place) -> None:
    at.lr.write_text("<html>404</html>")


@bad(r"HR/Thumbs\.db is not a picture")
def stray_file(at: Place) -> None:
    Path("HR/Thumbs.db").write_bytes(b"\0\1")


@bad(r"no pictures in LR; check the path")
def picture_that_is_a_broken_link(at: Place) -> None:
    at.lr.unlink()
    at.lr.symlink_to("nowhere.png")


@bad(r"LR/px4\.png is too small \(1×1 pixels\); allowed: at least 5×5, for SSIM at x4; remove it and HR/p\.png")
def picture_of_one_pixel(at: Place) -> None:
    at.save(at.hr, np.zeros((4, 4, 3), np.uint8))
    at.save(at.lr, np.zeros((1, 1, 3), np.uint8))


@bad(r"HR/p\.png is too small \(1×1 pixels\); allowed: at least 4×4")
def hr_picture_of_one_pixel(at: Place) -> None:
    at.save(at.hr, np.zeros((1, 1, 3), np.uint8))
    at.data["dataroot_lq"] = None


@bad(r"HR/p\.png \(48×40 pixels\) and LR/px4\.png \(20×20 pixels\) do not match at x4; allowed: LR of 12×10 pixels")
def sizes_that_do_not_match(at: Place) -> None:
    at.save(at.lr, np.zeros((20, 20, 3), np.uint8))


@bad(r"HR/p\.png has no LR partner: no px4\.png in LR; .*the nearest is px3\.png")
def names_that_do_not_match(at: Place) -> None:
    at.lr.rename("LR/px3.png")


@bad(r"LR/qx4\.png has no HR partner in HR; .*remove it, or add its HR")
def picture_left_over(at: Place) -> None:
    at.save(Path("LR/qx4.png"), np.zeros((10, 12, 3), np.uint8))


@bad(r"data set Mine has a dataroot_lq but no dataroot_gt")
def lr_without_hr(at: Place) -> None:
    at.data["dataroot_gt"] = None


@bad(r"the LR picture LR/px4\.png is too small \(12×10 pixels\); .*training crops.* lower gt_size", "train")
def crops_larger_than_the_pictures(at: Place) -> None:
    at.train["datasets"]["train"]["gt_size"] = 128


@bad(r"the picture LR/px4\.png is damaged", "train")
def damaged_training_picture(at: Place) -> None:
    at.lr.write_bytes(at.lr.read_bytes()[:100])


@bad(r"name in datasets\.test_1\.type: 'CompSRTPairDataset'.*did you mean 'CompSRTPairedDataset'")
def data_set_type_misspelt(at: Place) -> None:
    at.data["type"] = "CompSRTPairDataset"


@bad(r"datasets\.test_1\.io_backend is 'disk'; allowed: a block of keys")
def io_backend_without_a_block(at: Place) -> None:
    at.data["io_backend"] = "disk"


# checkpoints


@bad(r"no such file: nowhere\.safetensors; allowed: a packed checkpoint")
def checkpoint_missing(at: Place) -> None:
    at.test["path"]["pretrain_network_g"] = "nowhere.safetensors"


@bad(r"file\.safetensors is damaged: it has .* bytes, its header promises")
def checkpoint_truncated(at: Place) -> None:
    at.checkpoint(at.files["packed"].read_bytes()[:-1000])


@bad(r"file\.safetensors is damaged: its contents do not match its checksum; .*copy or download it again")
def checkpoint_with_a_flipped_bit(at: Place) -> None:
    content = bytearray(at.files["packed"].read_bytes())
    content[-1000] ^= 1
    at.checkpoint(bytes(content))


@bad(r"not a packed quantized network, which quant: needs.*quantize it: basicsr train")
def checkpoint_of_full_precision(at: Place) -> None:
    at.checkpoint(at.files["x4"].read_bytes())


@bad(r"file\.safetensors is a web page \(HTML\); allowed: a packed checkpoint")
def checkpoint_that_is_a_web_page(at: Place) -> None:
    at.checkpoint(b"<!DOCTYPE html><html>not found</html>")


@bad(r"file\.pth is not a packed quantized network")
def checkpoint_that_is_a_pickle_with_code(at: Place) -> None:
    torch.save({"params": Trap()}, "file.pth")
    at.test["path"]["pretrain_network_g"] = "file.pth"


@bad(r"has scale 4, the option file says 2; take the option file that fits")
def checkpoint_of_another_scale(at: Place) -> None:
    at.lr.unlink()
    at.save(Path("LR/px2.png"), downscale(cv2.imread(str(at.hr)), 2))
    at.data["filename_tmpl"] = "{}x2"
    at.test["scale"] = at.test["network_g"]["upscale"] = 2


@bad(r"has bits 3, the option file says 4; take the option file that fits")
def checkpoint_of_other_bits(at: Place) -> None:
    at.test["quant"]["bits"] = 4


@bad(r"odd\.safetensors is damaged: the entry 'arch' of its header is missing, not an object")
def header_that_is_empty(at: Place) -> None:
    at.header(dict.clear)


@bad(r"the entry 'bits' of its header is text, not a whole number")
def header_with_text_for_a_number(at: Place) -> None:
    at.header(lambda header: header["provenance"].update(bits="3"))


@bad(r"the spec in its header is not allowed \(weight: bits is 99; allowed: whole numbers 2 to 8\)")
def header_with_an_impossible_spec(at: Place) -> None:
    at.header(lambda header: header["spec"]["weight"].update(bits=99))


@bad(r"describes a network that cannot be built: network_g\.embed_dim is 100000; allowed: 1 to 2048")
def header_of_an_absurd_network(at: Place) -> None:
    at.header(lambda header: header["arch"].update(embed_dim=100_000))


@bad(r"cannot be built: network_g describes a network of 8,068,800,000 numbers .*allowed: up to 300,000,000")
def header_of_an_absurdly_deep_network(at: Place) -> None:
    at.header(lambda header: header["arch"].update(embed_dim=2046, depths=[60] * 4, num_heads=[6] * 4, img_size=64))


@bad(r"cannot be built: network_g\.type EDSR cannot be quantized; allowed: CompSRTNet, CompSRTSwinIR")
def header_of_another_network(at: Place) -> None:
    at.header(lambda header: header["arch"].update(type="EDSR"))


@bad(r"its contents do not fit the network in its header \(.*tensors missing")
def header_of_a_deeper_network(at: Place) -> None:
    at.header(lambda header: header["arch"].update(depths=[4]))


@bad(r"teacher\.pth is a web page \(HTML\)")
def teacher_that_is_a_web_page(at: Place) -> None:
    Path("teacher.pth").write_text("<html>")
    at.test["path"]["pretrain_network_teacher"] = "teacher.pth"


@bad(r"no such file: teacher\.pth; allowed: a state dict of full-precision weights")
def teacher_missing(at: Place) -> None:
    at.test["path"]["pretrain_network_teacher"] = "teacher.pth"


@bad(r"teacher_x2\.safetensors is a x2 network, x4 expected; take weights for x4", "train")
def weights_of_another_scale(at: Place) -> None:
    at.train["path"]["pretrain_network_g"] = str(at.files["x2"])


@bad(r"file\.pth is a web page \(HTML\); allowed: a state dict", "train")
def weights_that_are_a_web_page(at: Place) -> None:
    Path("file.pth").write_text("<html>")
    at.train["path"]["pretrain_network_g"] = "file.pth"


@bad(r"file\.pth is a pickle of more than weights, which could run code \(it names posix\.mkdir\)", "train")
def weights_that_are_a_pickle_with_code(at: Place) -> None:
    torch.save({"params": Trap()}, "file.pth")
    at.train["path"]["pretrain_network_g"] = "file.pth"


@bad(r"resume_state: 1\.state holds more than tensors and plain values, and is not run", "train")
def resume_state_with_code(at: Place) -> None:
    torch.save({"iter": Trap()}, "1.state")
    at.train["path"]["resume_state"] = "1.state"


@bad(r"holds? NaN or infinity", "train")
def weights_that_are_not_numbers(at: Place) -> None:
    weights = CompSRTSwinIR(**ARCH).state_dict()
    save_file({name: torch.full_like(value, torch.nan) for name, value in weights.items()}, "nan.safetensors")
    at.train["path"]["pretrain_network_g"] = "nan.safetensors"


# options


@bad(r"unknown name in network_g\.type: 'CompSRTSwinir'.*did you mean 'CompSRTSwinIR'")
def network_type_misspelt(at: Place) -> None:
    at.test["network_g"]["type"] = "CompSRTSwinir"


@bad(r"network_g\.type EDSR cannot be quantized; allowed: CompSRTNet, CompSRTSwinIR", "train")
def network_that_cannot_be_quantized(at: Place) -> None:
    at.train["network_g"] = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3}


@bad(r"unknown key in network_g: 'embed_dm'.*did you mean 'embed_dim'", "train")
def network_argument_misspelt(at: Place) -> None:
    at.train["network_g"]["embed_dm"] = 60


@bad(r"network_g\.embed_dim is 61, network_g\.num_heads \[6\]; allowed: heads that divide embed_dim", "train")
def heads_that_do_not_divide(at: Place) -> None:
    at.train["network_g"]["embed_dim"] = 61


@bad(r"network_g\.upscale is 4, scale is 3", "train")
def two_scales(at: Place) -> None:
    at.train["scale"] = 3
    at.train["datasets"]["train"].update(dataroot_lq=None, gt_size=24)


@bad(r"unknown metric in val\.metrics: 'psnrr'; allowed: psnr, ssim; did you mean 'psnr'")
def metric_misspelt(at: Place) -> None:
    at.test["val"]["metrics"]["psnrr"] = at.test["val"]["metrics"].pop("psnr")


@bad(r"unknown key in val\.metrics\.psnr: 'test_y_chanel'.*did you mean 'test_y_channel'")
def metric_key_misspelt(at: Place) -> None:
    at.test["val"]["metrics"]["psnr"]["test_y_chanel"] = True


@bad(r"val\.metrics\.psnr is 'calculate_psnr'; allowed: a block of keys")
def metric_without_a_block(at: Place) -> None:
    at.test["val"]["metrics"]["psnr"] = "calculate_psnr"


@bad(r"val\.padding is 'zero'; allowed: reflect, flip")
def padding_unknown(at: Place) -> None:
    at.test["val"]["padding"] = "zero"


@bad(r"name is '\.\./evil'; allowed: a plain name")
def name_that_leads_elsewhere(at: Place) -> None:
    at.test["name"] = "../evil"


@bad(r"num_gpu is 99, \d+ found; num_gpu: auto takes what is there, 0 the CPU")
def gpus_that_are_not_there(at: Place) -> None:
    at.test["num_gpu"] = 99


@bad(r"prune\.hook: 'magnitud'.*did you mean 'magnitude'", "train")
def pruning_hook_misspelt(at: Place) -> None:
    at.train["prune"] = {"hook": "magnitud", "ratio": 0.5}


@bad(r"override 'layer\.0\.\*' matches no layer", "train")
def override_that_matches_nothing(at: Place) -> None:
    at.train["quant"]["overrides"] = {"layer.0.*": {"bits": 4}}


# where it writes


@bad(r"cannot write to .*results: .*results is not a folder; move it away")
def results_that_are_a_file(at: Place) -> None:
    Path("results").write_text("")


@bad(r"cannot write to .*experiments: .*experiments is not a folder; move it away", "train")
def experiments_that_are_a_file(at: Place) -> None:
    Path("experiments").write_text("")


def everything_here() -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in Path().rglob("*") if p.name != "options.yml"}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(case: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    command, says, spoil = BAD[case]
    flags = spoil(place) or []
    assert isinstance(flags, list)
    before = everything_here()
    capsys.readouterr()
    assert place.run(command, *flags) == 2
    out, err = capsys.readouterr()
    line = err.splitlines()[-1]
    assert line.startswith("basicsr: error: ")
    assert re.search(says, line), line
    assert "Traceback" not in out + err
    assert err.count("basicsr: error") == 1
    assert everything_here() == before, "nothing half-written, and no trap sprung"


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder in which not even root may write")
def test_a_folder_where_nobody_may_write_is_one_line(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("/sys/kernel")
    assert main(["test", "-opt", "compsrt_x4_3bit"]) == 2
    line = capsys.readouterr().err
    assert re.fullmatch(r"basicsr: error: cannot write to /sys/kernel/results: .*; start in a folder .*\n", line)


def scores(place: Place) -> dict[str, Any]:
    assert place.run("test") == 0
    results = json.loads(Path("results/run/results.json").read_text())
    return {method: results["datasets"]["Mine"][method] for method in ("bicubic", "teacher", "quantized")}


def alpha(picture: np.ndarray) -> np.ndarray:
    return np.dstack([picture, np.full(picture.shape[:2], 128, np.uint8)])


def sixteen_bit(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.uint16) * 257


@pytest.mark.parametrize("change", [alpha, sixteen_bit])
def test_alpha_and_16_bits_are_judged_as_the_8_bit_colours_they_hold(
    change: Callable[[np.ndarray], np.ndarray], place: Place
) -> None:
    plain = scores(place)
    for path in (place.hr, place.lr):
        place.save(path, change(cv2.imread(str(path))))
    assert scores(place) == plain


def test_grey_is_judged_as_three_equal_channels(place: Place) -> None:
    greys = {path: cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (place.hr, place.lr)}
    for path, grey in greys.items():
        place.save(path, np.dstack([grey] * 3))
    colour = scores(place)
    for path, grey in greys.items():
        place.save(path, grey)
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ndim == 2
    assert scores(place) == colour
    assert 10 < colour["bicubic"]["psnr"] < 60


def test_a_data_set_that_is_missing_costs_one_line_and_the_others_are_tested(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMPSRT_DATA", "/nowhere")
    place.test["datasets"]["test_2"] = {"name": "Set5", "type": "CompSRTPairedDataset"}
    assert place.run("test") == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert "Set5 is not there: its pictures belong in /nowhere/Set5/HR and /nowhere/Set5/LR_bicubic/X4" in warning
    assert list(json.loads(Path("results/run/results.json").read_text())["datasets"]) == ["Mine"]
