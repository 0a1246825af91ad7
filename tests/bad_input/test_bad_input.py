"""Bad input through the whole command: one line, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from places import Place

from compsrt_plugin.cli.main import main

from . import checkpoints, data, options
from .cases import BAD

CASES = (checkpoints, data, options)  # importing them enters their cases


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
    assert "Set5 is missing: its images belong in /nowhere/Set5/HR and /nowhere/Set5/LR_bicubic/X4" in warning
    assert list(json.loads(Path("results/run/results.json").read_text())["datasets"]) == ["Mine"]
