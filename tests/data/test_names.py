"""Every image of a data set has a name of its own, in results and on disk."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
from places import Place

from compsrt_plugin.data.names import ImageNames
from compsrt_plugin.errors import CompSRTError


def names(*pictures: str, root: str = "/data/HR", **opt: Any) -> ImageNames:
    paths = [{"gt_path": f"{root}/{name}", "lq_path": f"/data/LR/{name}"} for name in pictures]
    return ImageNames(SimpleNamespace(opt={"name": "Mine", "dataroot_gt": root, **opt}, paths=paths))


def test_a_picture_goes_by_its_whole_name_below_its_folder() -> None:
    assert names("baby.png").of("/data/HR/baby.png") == "baby.png"
    assert names("000/1.png", "001/1.png").of("/data/HR/001/1.png") == "001/1.png"
    assert names(root="HR").of("HR/a.png") == "a.png"
    assert names().of("baby") == "baby", "the key of an LMDB"
    assert names().of("/elsewhere/baby.png") == "baby.png"


def test_the_ending_stays_in_what_is_written_only_where_it_tells_two_pictures_apart() -> None:
    found = names("a.png", "a.jpg", "b.png", "1/c.png", "2/c.png", dataroot_lq="/data/LR")
    written = [found.written(f"/data/LR/{name}", "run") for name in ("a.png", "a.jpg", "b.png", "1/c.png", "2/c.png")]
    assert written == ["a.png_run.png", "a.jpg_run.png", "b_run.png", "1/c_run.png", "2/c_run.png"]


def test_two_pictures_of_one_name_are_refused() -> None:
    with pytest.raises(CompSRTError, match=r"data set Mine has 2 images of the name a\.png; allowed: unique names"):
        names("a.png", "b.png", "a.png")


def test_a_name_that_no_file_system_takes_is_refused_before_anything_is_written() -> None:
    found = names("p" * 200 + ".png", dataroot_lq="/data/LR")
    found.check_written("x" * 50)
    with pytest.raises(CompSRTError, match=r"would have a name of 256 bytes; allowed: up to 255; give a shorter"):
        found.check_written("x" * 51)


def test_pictures_that_differ_in_their_ending_alone_are_both_judged_and_written(place: Place) -> None:
    for path in (place.hr, place.lr):
        cv2.imwrite(str(path.with_suffix(".bmp")), 255 - cv2.imread(str(path)))
    place.test["val"]["save_img"] = True
    assert place.run("test") == 0
    scores = json.loads(Path("results/run/results.json").read_text())["datasets"]["Mine"]
    assert list(scores["per_image"]) == ["p.bmp", "p.png"]
    assert scores["per_image"]["p.bmp"] != scores["per_image"]["p.png"]
    pictures = sorted(Path("results/run/visualization/Mine").iterdir())
    assert [path.name for path in pictures] == ["px4.bmp_run.png", "px4.png_run.png"]
    assert pictures[0].read_bytes() != pictures[1].read_bytes()


def test_a_list_that_has_a_picture_twice_is_refused_before_it_is_judged(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("list.txt").write_text("p.png (48,40,3)\np.png (48,40,3)\n")
    place.data["meta_info_file"] = "list.txt"
    assert place.run("test") == 2
    assert "data set Mine has 2 images of the name p.png" in capsys.readouterr().err.splitlines()[-1]
    assert not Path("results").exists()
