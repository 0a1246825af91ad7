"""`tile:` in an option file cuts large images, without it they are cut only where memory asks for it."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from places import Place

from compsrt_plugin.data.resize import downscale
from compsrt_plugin.inference import memory


@pytest.fixture
def large(place: Place) -> Place:
    """A place whose LR image has 40×44 pixels."""
    picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (20, 22, 3), np.uint8), (176, 160))
    place.save(place.hr, picture)
    place.save(place.lr, downscale(picture, 4))
    return place


def results(place: Place, *flags: str) -> dict[str, Any]:
    assert place.run("test", *flags) == 0
    return json.loads(Path("results/run/results.json").read_text())


def test_tiles_hardly_change_the_scores_and_are_recorded(large: Place) -> None:
    whole = results(large)
    tiled = results(large, "--force_yml", "tile:size=24", "tile:overlap=8")
    assert "tile" not in whole
    assert tiled["tile"] == {"size": 24, "overlap": 8, "automatic": False}
    for method in ("teacher", "quantized"):
        assert tiled["datasets"]["Mine"][method] != whole["datasets"]["Mine"][method]  # it was cut indeed
        psnr = [scores["datasets"]["Mine"][method]["psnr"] for scores in (whole, tiled)]
        assert psnr[0] == pytest.approx(psnr[1], abs=0.1)


def test_a_tile_without_a_whole_window_is_refused_before_the_first_image(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "compsrt_plugin.models.evaluation.Evaluator.evaluate", lambda *_: pytest.fail("a picture was begun")
    )
    assert place.run("test", "--force_yml", "tile:size=8", "tile:overlap=1") == 2
    assert "tile.size is 8 with tile.overlap 1; allowed: sizes from 16" in capsys.readouterr().err


def test_a_full_disk_is_one_line_while_output_images_are_written(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.replace

    def full(part: str, target: Path) -> None:
        if str(target).endswith(".png"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(part, target)

    monkeypatch.setattr("compsrt_plugin.files.os.replace", full)
    assert place.run("test", "--force_yml", "val:save_img=true") == 2
    assert re.search(r"basicsr: error: cannot write .*\.png: No space left on device", capsys.readouterr().err)


def test_images_are_cut_by_themselves_where_memory_would_not_suffice(
    large: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 16 << 20)
    monkeypatch.setattr(memory, "SMALLEST", 24)
    assert results(large)["tile"]["automatic"] is True


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (["tile:size=64", "tile:overlap=32"], "tile.overlap is 32; allowed: 0 to below half of tile.size 64"),
        (["tile:size=large"], "tile.size is 'large'; allowed: integers from 1"),
        (["tile:overlab=8"], "unknown key in tile: 'overlab'; allowed: overlap, size; did you mean 'overlap'?"),
        (["tile=256"], "tile is 256; allowed: a block of keys"),
    ],
)
@pytest.mark.parametrize("command", ["test", "train"])
def test_a_wrong_block_is_refused_in_one_line(
    large: Place, capsys: pytest.CaptureFixture[str], entries: list[str], says: str, command: str
) -> None:
    assert large.run(command, "--force_yml", *entries) == 2
    assert says in capsys.readouterr().err


def test_a_tile_too_small_for_the_networks_window_is_refused(large: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert large.run("test", "--force_yml", "tile:size=12", "tile:overlap=4") == 2
    assert "tile.size is 12 with tile.overlap 4; allowed: sizes from 16 at this overlap" in capsys.readouterr().err
    assert not Path("results/run").exists()
