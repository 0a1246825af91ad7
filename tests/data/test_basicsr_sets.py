"""BasicSR's own data sets: whatever is wrong with them is one line, before anything starts where it can be known."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from places import Place

import compsrt_plugin
from compsrt_plugin.data.basicsr_sets import check_basicsr_sets
from compsrt_plugin.data.lmdb_pairs import make_lmdbs
from compsrt_plugin.data.low_resolution import OutputLayout
from compsrt_plugin.errors import CompSRTError

compsrt_plugin.register()
SIZES = [(48, 40), (64, 48)]


def write(path: str, width: int, height: int) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    assert cv2.imwrite(path, np.zeros((height, width, 3), np.uint8))


@pytest.fixture
def paired(place: Place) -> Place:
    """Two pairs in HR and LR, read by BasicSR's paired data set, in a test and in a training."""
    for number, (width, height) in enumerate(SIZES):
        write(f"HR/a{number}.png", width, height)
        write(f"LR/a{number}x4.png", width // 4, height // 4)
    place.hr.unlink()
    place.lr.unlink()
    place.data["type"] = place.train["datasets"]["train"]["type"] = "PairedImageDataset"
    return place


@pytest.fixture
def databases(paired: Place) -> Place:
    """The same in LMDBs."""
    layout = OutputLayout(Path("db"), (4,), hr_copy=True)
    for number in range(2):
        layout.hr_dir.mkdir(parents=True, exist_ok=True)
        layout.lr_dir(4).mkdir(parents=True, exist_ok=True)
        shutil.copy(f"HR/a{number}.png", layout.hr_dir / f"a{number}.png")
        shutil.copy(f"LR/a{number}x4.png", layout.lr_dir(4) / f"a{number}x4.png")
    hr, lr = make_lmdbs(["a0", "a1"], layout)
    for dataset in (paired.data, paired.train["datasets"]["train"]):
        dataset.update(dataroot_gt=str(hr), dataroot_lq=str(lr), io_backend={"type": "lmdb"})
    return paired


def check(options: dict[str, Any], ours: bool = True) -> None:
    check_basicsr_sets(options, ours=ours)


def test_sound_sets_pass(paired: Place) -> None:
    check(paired.test)
    check(paired.train)


def test_sound_databases_pass(databases: Place) -> None:
    check(databases.test)
    check(databases.train)


Change = Callable[[Place], object]


def cut(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:60])


def listed(at: Place, text: str | None) -> None:
    if text is not None:
        Path("list.txt").write_text(text)
    at.data["meta_info_file"] = "list.txt"


BROKEN: dict[str, Change] = {
    r"datasets\.test_1\.meta_info_file: cannot read list\.txt": lambda at: listed(at, None),
    r"list\.txt is empty; allowed: the name": lambda at: listed(at, ""),
    r"list\.txt, line 2 is empty": lambda at: listed(at, "a0.png (1,1,3)\n\na1.png\n"),
    r"cannot read the image HR/a7\.png": lambda at: listed(at, "a7.png\n"),
    r"HR/a1\.png has no LR partner: no a1x4\.png in LR": lambda at: Path("LR/a1x4.png").unlink(),
    r"HR/a0\.png has no LR partner: no a0x3\.png in LR": lambda at: at.data.update(filename_tmpl="{}x3"),
    r"no a0\.png in LR": lambda at: at.data.pop("filename_tmpl"),
    r"filename_tmpl is 'x4'; allowed: a text with one": lambda at: at.data.update(filename_tmpl="x4"),
    r"HR/Thumbs\.db is not an image": lambda at: Path("HR/Thumbs.db").write_bytes(b"x"),
    r"the image LR/a0x4\.png is damaged": lambda at: cut("LR/a0x4.png"),
    r"LR/a0x4\.png is too small \(3×3 pixels\)": lambda at: [
        write("HR/a0.png", 12, 12),
        write("LR/a0x4.png", 3, 3),
    ],
    r"do not match at x4": lambda at: write("LR/a0x4.png", 20, 20),
    r"no images in HR": lambda at: [path.unlink() for path in Path("HR").iterdir()],
    r"datasets\.test_1\.dataroot_gt HRR is not a folder": lambda at: at.data.update(dataroot_gt="HRR"),
    r"test_1 has no dataroot_lq; PairedImageDataset needs it": lambda at: at.data.pop("dataroot_lq"),
    r"no originals; .*to enlarge .*: basicsr upscale LR -o": lambda at: at.data.pop("dataroot_gt"),
    r"unknown datasets\.test_1\.io_backend\.type: 'lmbd'.*mean 'lmdb'": lambda at: at.data.update(
        io_backend={"type": "lmbd"}
    ),
    r"io_backend\.type: 'None'": lambda at: at.data.pop("io_backend"),
    r"memcached, but its client mc is not installed": lambda at: at.data.update(io_backend={"type": "memcached"}),
    r"FFHQDataset does not provide pairs of images; allowed: CompSRTPairedDataset, Paired": lambda at: at.data.update(
        type="FFHQDataset"
    ),
}


@pytest.mark.parametrize("says", BROKEN)
def test_a_test_on_a_broken_set_is_one_line_before_it_starts(says: str, paired: Place) -> None:
    BROKEN[says](paired)
    with pytest.raises(CompSRTError, match=says) as error:
        check(paired.test)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gt_size": 64}, r"LR/a0x4\.png is too small \(12×10 pixels\); allowed: at least 16×16, for training crops"),
        ({"gt_size": None}, r"gt_size of data set Mine is None; allowed: the side of training crops"),
        ({"gt_size": "big"}, r"gt_size of data set Mine is 'big'"),
        ({"type": "SingleImageDataset"}, r"SingleImageDataset does not provide pairs of images"),
        ({"type": "RealESRGANDataset"}, r"RealESRGANDataset does not provide pairs of images"),
        ({"type": "RealESRGANPairedDataset", "meta_info": "none.txt"}, r"train\.meta_info: cannot read none\.txt"),
    ],
)
def test_a_training_on_a_broken_set_is_one_line_before_it_starts(
    change: dict[str, Any], says: str, paired: Place
) -> None:
    paired.train["datasets"]["train"].update(change)
    with pytest.raises(CompSRTError, match=says):
        check(paired.train)


def test_a_list_of_realesrgan_names_both_pictures_of_a_pair(paired: Place) -> None:
    paired.train["datasets"]["train"].update(type="RealESRGANPairedDataset", meta_info="list.txt")
    Path("list.txt").write_text("a0.png, a0x4.png\na1.png, a1x4.png\n")
    check(paired.train)
    Path("list.txt").write_text("a0.png a0x4.png\n")
    with pytest.raises(CompSRTError, match=r"line 1 is 'a0\.png a0x4\.png'; allowed: HR, LR: two names"):
        check(paired.train)


DATABASES: dict[str, Change] = {
    r"dataroot_gt HR is not a database; allowed: a folder .*lmdb": lambda at: at.data.update(dataroot_gt="HR"),
    r"dataroot_gt db/HR\.lmdb cannot be read": lambda at: Path("db/HR.lmdb/data.mdb").write_bytes(b"x" * 5000),
    r"LR_bicubic_X4\.lmdb cannot be read \(.*meta_info": lambda at: Path(
        "db/LR_bicubic_X4.lmdb/meta_info.txt"
    ).unlink(),
    r"has no 'b', which its meta_info\.txt names": lambda at: Path("db/HR.lmdb/meta_info.txt").write_text(
        "b.png (4,4,3) 1"
    ),
    r"Keys in .* are different: 'a1' is not in db/HR\.lmdb": lambda at: Path("db/HR.lmdb/meta_info.txt").write_text(
        "a0.png (40,48,3) 1\n"
    ),
    r"HR\.lmdb/a0 \(80×40 pixels\) and .* do not match at x4": lambda at: Path("db/HR.lmdb/meta_info.txt").write_text(
        "a0.png (40,80,3) 1\na1.png (48,64,3) 1\n"
    ),
    r"its meta_info\.txt is empty": lambda at: Path("db/HR.lmdb/meta_info.txt").write_text(""),
}


@pytest.mark.parametrize("says", DATABASES)
def test_a_broken_database_is_one_line_before_it_is_read(says: str, databases: Place) -> None:
    DATABASES[says](databases)
    with pytest.raises(CompSRTError, match=says):
        check(databases.test)


def test_two_data_sets_read_one_database_in_one_process(databases: Place) -> None:
    options = {**databases.data, "scale": 4, "phase": "test"}
    first, second = (build_dataset(options) for _ in range(2))
    assert torch.equal(first[1]["gt"], second[1]["gt"])
    check(databases.test)


def test_pictures_in_a_database_are_too_small_before_training_starts(databases: Place) -> None:
    databases.train["datasets"]["train"]["gt_size"] = 64
    for kind in ("PairedImageDataset", "CompSRTPairedDataset"):
        databases.train["datasets"]["train"]["type"] = kind
        assert databases.run("train") == 2


@pytest.mark.parametrize("ours", [True, False])
def test_pictures_without_originals_are_for_upscale(ours: bool, paired: Place) -> None:
    paired.data.pop("dataroot_gt")
    paired.data["type"] = "SingleImageDataset"
    with pytest.raises(CompSRTError, match=r"no originals; .*basicsr upscale LR -o FOLDER"):
        check(paired.test, ours=ours)


def test_a_set_that_does_not_read_its_originals_is_named(paired: Place) -> None:
    paired.data["type"] = "SingleImageDataset"
    with pytest.raises(CompSRTError, match=r"test_1\.type SingleImageDataset reads no originals; allowed: .*Paired"):
        check(paired.test)


def test_another_model_may_enlarge_pictures_without_originals_if_it_does_not_judge_them(paired: Place) -> None:
    paired.data.pop("dataroot_gt")
    paired.data["type"] = "SingleImageDataset"
    paired.test["val"]["metrics"] = None
    check(paired.test, ours=False)
    Path("LR/Thumbs.db").write_bytes(b"x")
    with pytest.raises(CompSRTError, match=r"Thumbs\.db is not an image"):
        check(paired.test, ours=False)


def test_a_set_of_ours_without_originals_is_refused_before_it_starts(place: Place) -> None:
    place.data["dataroot_gt"] = None
    with pytest.raises(CompSRTError, match=r"no originals; .*basicsr upscale LR -o FOLDER"):
        check(place.test)


def test_earlier_results_are_in_place_after_a_broken_set(paired: Place) -> None:
    assert paired.run("test") == 0
    before = Path("results/run/results.json").read_bytes()
    cut("LR/a0x4.png")
    assert paired.run("test") == 2
    assert Path("results/run/results.json").read_bytes() == before
    assert [path.name for path in Path("results").iterdir()] == ["run"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_damaged_behind_its_header_is_named_when_training_reads_it(
    workers: int, paired: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    write("HR/a0.png", 400, 400)
    write("LR/a0x4.png", 100, 100)
    cut("LR/a0x4.png")
    paired.train["datasets"]["train"].update(num_worker_per_gpu=workers, use_hflip=True, use_rot=True)
    paired.train["model_type"] = "SRModel"
    paired.train["network_g"] = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 4}
    paired.train["train"]["pixel_opt"] = {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"}
    paired.train["path"] = {"pretrain_network_g": None}
    for block in ("quant", "distill"):
        paired.train.pop(block)
    assert paired.run("train") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("basicsr: error: the image LR/a0x4.png is damaged"), line


def test_pictures_come_in_one_order_whatever_the_disks(paired: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"HR": ["a1.png", "a0.png"], "LR": ["a1x4.png", "a0x4.png"]}
    monkeypatch.setattr("basicsr.data.data_util.scandir", lambda folder: iter(names[folder]))
    dataset = build_dataset({**paired.data, "scale": 4, "phase": "test"})
    assert [pair["gt_path"] for pair in dataset.paths] == ["HR/a0.png", "HR/a1.png"]
