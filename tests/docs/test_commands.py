"""Commands of the guides run as they are printed, on a small network and a few images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pages
import pytest
from small_run import small

from compsrt_plugin.cli.main import main

PACKED = Path("experiments/mine/models/mine.safetensors")


def test_a_network_is_quantized_on_own_images_and_its_sensitivity_reported(
    inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("HR", "datasets/DF2K/HR")
    train, test = pages.commands(pages.sections(pages.read("docs/quantize.md"))["Use your own images"])
    assert main(small(train)) == 0
    assert main(small(test)) == 0
    assert "mine" in capsys.readouterr().out
    shutil.copy(PACKED, "mine.safetensors")
    for command in pages.commands(pages.read("docs/sensitivity.md")):
        assert main(command) == 0
        assert "overrides" in capsys.readouterr().out


def test_a_run_goes_on_where_it_was_interrupted(inputs: Path) -> None:
    (resume,) = pages.commands(pages.sections(pages.read("docs/quantize.md"))["Interrupt and resume"])
    assert main(small(resume)) == 0
    assert main(small(resume, "--force_yml", "train:total_iter=8")) == 0


def test_a_network_is_pruned(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, *_ = pages.commands(pages.read("docs/pruning.md"))
    assert main(small(command, "name=mine")) == 0
    assert main(["report", str(PACKED)]) == 0
    assert "40.0%" in capsys.readouterr().out


def test_a_folder_is_enlarged(inputs: Path) -> None:
    Path("photos").mkdir()
    shutil.copy("HR/p0.png", "photos/p0.png")
    command, *_ = pages.commands(pages.read("docs/upscale.md"))
    assert main(command) == 0
    assert Path("large/p0.png").exists()
