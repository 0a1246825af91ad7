"""A folder with a pair of pictures, a small network and option files for it, as a user's might be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from small_networks import ARCH, save, small_network

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.cli.main import main
from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.data.resize import downscale
from compsrt_plugin.packed import read_packed, write_packed


def network_files(folder: Path) -> dict[str, Path]:
    """Write a packed network and a teacher of its shape, for x4; and a teacher for x2."""
    teachers = {}
    for scale in (2, 4):
        torch.manual_seed(0)
        teachers[scale] = folder / f"teacher_x{scale}.safetensors"
        save_file(CompSRTSwinIR(**{**ARCH, "upscale": scale}).state_dict(), teachers[scale])
    return {"packed": save(folder / "packed.safetensors", small_network()), "x4": teachers[4], "x2": teachers[2]}


class Place:
    """The current folder.

    Attributes:
        hr, lr: the two pictures, 40×48 and 10×12 pixels.
        test, train: the options that `basicsr test` and `basicsr train` will be given.
        data: the data set of `test`.
        files: see `network_files`.
    """

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        self.hr, self.lr = Path("HR/p.png"), Path("LR/px4.png")
        picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8), (48, 40))
        self.save(self.hr, picture)
        self.save(self.lr, downscale(picture, 4))
        network = {"type": "CompSRTSwinIR", **ARCH}
        self.data: dict[str, Any] = {
            "name": "Mine",
            "type": "CompSRTPairedDataset",
            "dataroot_gt": "HR",
            "dataroot_lq": "LR",
            "filename_tmpl": "{}x4",
            "io_backend": {"type": "disk"},
        }
        common = {"name": "run", "num_gpu": 0, "network_g": network}
        self.test = {**installed("test"), **copy.deepcopy(common), "datasets": {"test_1": self.data}}
        self.test["path"] = {
            "pretrain_network_g": str(files["packed"]),
            "pretrain_network_teacher": str(files["x4"]),
            "strict_load_g": True,
        }
        self.train = {**installed("train"), **copy.deepcopy(common), "val": None}
        self.train["datasets"] = {"train": {**installed("train")["datasets"]["train"], **self.data, "subset": None}}
        self.train["datasets"]["train"]["gt_size"] = 32
        self.train["quant"]["calibration"] = {"patches": 1, "patch_size": 8}
        self.train["path"]["pretrain_network_g"] = str(files["x4"])
        self.train["logger"]["use_tb_logger"] = False

    def write(self, command: str) -> None:
        """Write `options.yml`."""
        Path("options.yml").write_text(yaml.safe_dump(self.test if command == "test" else self.train))

    def run(self, command: str, *flags: str) -> int:
        """Run the command with `options.yml`; returns its exit code."""
        self.write(command)
        return main([command, "-opt", "options.yml", *flags])

    @staticmethod
    def save(path: Path, picture: np.ndarray) -> None:
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), picture)

    def checkpoint(self, content: bytes, name: str = "file.safetensors") -> None:
        Path(name).write_bytes(content)
        self.test["path"]["pretrain_network_g"] = name

    def header(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Test a packed file that is whole and sealed, but whose header was changed."""
        packed = read_packed(self.files["packed"])
        change(packed.header)
        write_packed("odd.safetensors", packed.state, packed.code_bits, packed.header)
        self.test["path"]["pretrain_network_g"] = "odd.safetensors"


def installed(command: str) -> dict[str, Any]:
    return read_option_file(option_files(command)["compsrt_x4_3bit"])
