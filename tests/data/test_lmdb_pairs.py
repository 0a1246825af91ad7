from __future__ import annotations

import numpy as np
import pytest
from sample_pictures import random_picture, save

from compsrt_plugin.data.images import images_in, read_image
from compsrt_plugin.data.lmdb_pairs import check_keys, make_lmdbs
from compsrt_plugin.data.low_resolution import OutputLayout, make_low_resolution
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import UnwritableError

NAMES = ["ant", "bee", "cat"]


@pytest.fixture
def layout(hr_folder, tmp_path):
    layout = OutputLayout(tmp_path / "out", (2, 4), hr_copy=True)
    make_low_resolution(images_in(hr_folder), layout)
    return layout


def test_basicsrs_own_dataset_reads_the_databases(layout):
    from basicsr.data.paired_image_dataset import PairedImageDataset

    databases = make_lmdbs(NAMES, layout)
    assert [d.name for d in databases] == ["HR.lmdb", "LR_bicubic_X2.lmdb", "LR_bicubic_X4.lmdb"]
    dataset = PairedImageDataset(
        {
            "dataroot_gt": str(databases[0]),
            "dataroot_lq": str(databases[2]),
            "io_backend": {"type": "lmdb"},
            "phase": "val",
            "scale": 4,
        }
    )
    assert len(dataset) == 3
    for item, name in zip((dataset[0], dataset[1], dataset[2]), NAMES):
        assert item["lq_path"] == name
        lr = (item["lq"].numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)[..., ::-1]
        assert np.array_equal(lr, read_image(layout.lr_dir(4) / f"{name}x4.png"))
        assert item["gt"].shape == (3, *(4 * side for side in lr.shape[:2]))


def test_unchanged_databases_are_left_alone_and_changed_ones_replaced(layout, hr_folder):
    times = [(d / "data.mdb").stat().st_mtime_ns for d in make_lmdbs(NAMES, layout)]
    assert [(d / "data.mdb").stat().st_mtime_ns for d in make_lmdbs(NAMES, layout)] == times
    save(hr_folder / "ant.png", random_picture(48, 48))
    make_low_resolution(images_in(hr_folder), layout)
    assert all((d / "data.mdb").stat().st_mtime_ns > t for d, t in zip(make_lmdbs(NAMES, layout), times))
    assert not list(layout.out.glob(".part*"))


def test_a_small_first_picture_does_not_limit_the_database(tmp_path):
    save(tmp_path / "hr" / "a.png", np.zeros((4, 4, 3), np.uint8))
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    save(tmp_path / "hr" / "b.png", noise)
    layout = OutputLayout(tmp_path / "out", (2,), hr_copy=True)
    make_low_resolution(images_in(tmp_path / "hr"), layout)
    hr = make_lmdbs(["a", "b"], layout)[0]
    assert (hr / "data.mdb").stat().st_size > noise.size


def test_nothing_is_printed(layout, capsys):
    make_lmdbs(NAMES, layout)
    assert capsys.readouterr() == ("", "")


def test_a_failure_leaves_no_half_database(layout, monkeypatch):
    import lmdb

    def fail(*_, **__):
        raise lmdb.MapFullError("mdb_put: MDB_MAP_FULL")

    monkeypatch.setattr("basicsr.utils.lmdb_util.read_img_worker", fail)
    with pytest.raises(UnwritableError, match=r"cannot write .*HR\.lmdb: mdb_put"):
        make_lmdbs(NAMES, layout)
    assert not list(layout.out.glob("*.lmdb")) + list(layout.out.glob(".part*"))


@pytest.mark.parametrize("name", ["im.v2", "größe", "x" * 512])
def test_names_that_basicsr_cannot_look_up_are_refused(name):
    with pytest.raises(CompSRTError, match="cannot be a key of a BasicSR LMDB"):
        check_keys(["fine", name])
