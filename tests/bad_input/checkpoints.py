"""Weight files that are not what they should be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import torch
from places import Place
from safetensors.torch import save_file
from small_networks import ARCH

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.data.resize import downscale

from .cases import bad


class Trap:
    """What a pickle holds that makes the folder `sprung` when it is loaded carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sprung",)


@bad(r"no such file: nowhere\.safetensors; allowed: a packed checkpoint")
def checkpoint_missing(at: Place) -> None:
    at.test["path"]["pretrain_network_g"] = "nowhere.safetensors"


@bad(r"file\.safetensors is damaged: it has .* bytes, its header says")
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


@bad(r"has scale 4, the option file says 2; use the option file for this checkpoint")
def checkpoint_of_another_scale(at: Place) -> None:
    at.lr.unlink()
    at.save(Path("LR/px2.png"), downscale(cv2.imread(str(at.hr)), 2))
    at.data["filename_tmpl"] = "{}x2"
    at.test["scale"] = at.test["network_g"]["upscale"] = 2


@bad(r"has bits 3, the option file says 4; use the option file for this checkpoint")
def checkpoint_of_other_bits(at: Place) -> None:
    at.test["quant"]["bits"] = 4


@bad(r"odd\.safetensors is damaged: the entry 'arch' of its header is missing, not an object")
def header_that_is_empty(at: Place) -> None:
    at.header(dict.clear)


@bad(r"the entry 'bits' of its header is text, not an integer")
def header_with_text_for_a_number(at: Place) -> None:
    at.header(lambda header: header["provenance"].update(bits="3"))


@bad(r"the spec in its header is not allowed \(weight: bits is 99; allowed: integers 2 to 8\)")
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


@bad(r"no such file: other\.pth; .*network_g\.base\.file names it: --force_yml network_g:base:file=FILE", "train")
def weights_of_a_wrapped_network_missing(at: Place) -> None:
    at.train["network_g"] = {"type": "CompSRTNet", "base": {"file": "other.pth"}}


@bad(r"teacher_x2\.safetensors is a x2 network, x4 expected; use weights for x4", "train")
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


@bad(r"resume_state: 1\.state holds more than tensors and plain values, and is not loaded", "train")
def resume_state_with_code(at: Place) -> None:
    torch.save({"iter": Trap()}, "1.state")
    at.train["path"]["resume_state"] = "1.state"


@bad(r"holds? NaN or infinity", "train")
def weights_that_are_not_numbers(at: Place) -> None:
    weights = CompSRTSwinIR(**ARCH).state_dict()
    save_file({name: torch.full_like(value, torch.nan) for name, value in weights.items()}, "nan.safetensors")
    at.train["path"]["pretrain_network_g"] = "nan.safetensors"
