"""README's commands for official SwinIR-light weights run to the end, on a file of the official layout made here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import compsrt_plugin

compsrt_plugin.register()

from basicsr.archs.swinir_arch import SwinIR  # noqa: E402
from basicsr.metrics import calculate_psnr, calculate_ssim  # noqa: E402
from basicsr.utils import img2tensor, tensor2img  # noqa: E402

from compsrt_plugin.cli.main import main  # noqa: E402
from compsrt_plugin.config.files import find_option_file  # noqa: E402
from compsrt_plugin.config.reader import read_option_file  # noqa: E402
from compsrt_plugin.data.resize import downscale  # noqa: E402
from compsrt_plugin.report import FileRecord, read_results  # noqa: E402

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SHORT = [
    "train:total_iter=0",
    "quant:calibration:patches=1",
    "quant:calibration:patch_size=16",
    "datasets:val:centre_patch=16",
]


def readme_commands(weights: Path) -> tuple[str, list[list[str]]]:
    """Return `COMPSRT_DATA` and the arguments of both `basicsr` commands, with `weights` for the address."""
    (block,) = re.findall(r"^```\n(OFFICIAL=.*?)^```", README, re.DOTALL | re.MULTILINE)
    words = shlex.split(block.replace("$OFFICIAL", str(weights)).replace("&&", "").replace("\\\n", ""))
    (data,) = (word.split("=")[1] for word in words if word.startswith("COMPSRT_DATA="))
    starts = [index for index, word in enumerate(words) if word == "basicsr"]
    train, test = words[starts[0] + 1 : starts[1] - 1], words[starts[1] + 1 :]
    return data, [train, test]


@pytest.fixture
def official(tmp_path: Path) -> tuple[Path, SwinIR]:
    """BasicSR's own SwinIR-light x4 and its file: persistent buffers and all, under the key `params`."""
    arguments = read_option_file(find_option_file("compsrt_x4_3bit", "test"))["network_g"]
    torch.manual_seed(0)
    network = SwinIR(**{key: value for key, value in arguments.items() if key != "type"}).eval()
    path = tmp_path / "002_lightweightSR_DIV2K_s64w8_SwinIR-S_x4.pth"
    torch.save({"params": network.state_dict()}, path)
    assert {"attn_mask", "relative_position_index"} <= {key.rpartition(".")[2] for key in network.state_dict()}
    return path, network


def test_official_weights_are_quantized_and_their_figures_are_those_of_basicsr(
    official: tuple[Path, SwinIR], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_logger: None
):
    path, network = official
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path / "cache"))
    data, (train, test) = readme_commands(path)
    original = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8), (96, 64))
    small = downscale(original, 4)
    for folder, name, picture in (("HR", "baby", original), ("LR_bicubic/X4", "babyx4", small)):
        (tmp_path / data / "Set5" / folder).mkdir(parents=True)
        assert cv2.imwrite(str(tmp_path / data / "Set5" / folder / f"{name}.png"), picture)

    assert main([*train, *SHORT]) == 0
    monkeypatch.setenv("COMPSRT_DATA", data)
    assert main([*test, "datasets:test_1:embedded=null", "val:save_img=false"]) == 0

    found = read_results(Path("results/official/results.json"))
    assert found.files["teacher"].sha256 == FileRecord.of(path).sha256
    assert found.max_distinct_codes is not None and found.max_distinct_codes <= 8
    lq: Any = img2tensor(small.astype(np.float32) / 255)
    with torch.no_grad():
        output = network(lq.unsqueeze(0))
    expected = tensor2img([output])
    judged = found.datasets["Set5"].per_image["baby.png"].teacher
    assert judged is not None
    assert judged.psnr == pytest.approx(
        calculate_psnr(expected, original, crop_border=4, test_y_channel=True), abs=1e-6
    )
    assert judged.ssim == pytest.approx(
        calculate_ssim(expected, original, crop_border=4, test_y_channel=True), abs=1e-6
    )
