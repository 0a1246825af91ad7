from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from sample_pictures import random_picture, save

import compsrt_plugin
from compsrt_plugin.data.draws import DrawnImages
from compsrt_plugin.data.images import read_image
from compsrt_plugin.data.paired_dataset import CompSRTPairedDataset
from compsrt_plugin.data.resize import imresize
from compsrt_plugin.errors import CompSRTError


@pytest.fixture(autouse=True)
def no_data_by_default(cache, monkeypatch):
    monkeypatch.delenv("COMPSRT_DATA", raising=False)


def options(**changes):
    base = {"name": "Zoo", "phase": "test", "scale": 4, "io_backend": {"type": "disk"}}
    return {**base, **changes}


def training(**changes):
    return options(phase="train", gt_size=32, use_hflip=True, use_rot=True, **changes)


def names(dataset):
    return [path["lq_path"].rsplit("/", 1)[-1] for path in dataset.paths]


def test_given_folders_are_read_as_basicsr_reads_them(make_set):
    from basicsr.data.paired_image_dataset import PairedImageDataset

    hr, lr = make_set()
    given = options(dataroot_gt=str(hr), dataroot_lq=str(lr), filename_tmpl="{}x4")
    ours, basicsrs = CompSRTPairedDataset(given), PairedImageDataset(options(**given))
    theirs = {basicsrs[i]["lq_path"]: basicsrs[i] for i in range(3)}
    assert names(ours) == ["p0x4.png", "p1x4.png", "p2x4.png"]
    for i in range(3):
        item = ours[i]
        other = theirs[item["lq_path"]]
        assert item["gt_path"] == other["gt_path"]
        assert torch.equal(item["lq"], other["lq"])
        assert torch.equal(item["gt"], other["gt"])


def test_the_options_given_stay_as_they_were(make_set):
    hr, lr = make_set()
    given = options(dataroot_gt=str(hr), dataroot_lq=str(lr), filename_tmpl="{}x4")
    before = pickle.dumps(given)
    CompSRTPairedDataset(given)[0]
    assert pickle.dumps(given) == before


def test_an_hr_folder_alone_gets_its_lr_pictures(hr_folder):
    dataset = CompSRTPairedDataset(options(dataroot_gt=str(hr_folder)))
    assert names(dataset) == ["antx4.png", "beex4.png", "catx4.png"]
    assert dataset[0]["lq"].shape == (3, 16, 20)
    assert dataset[0]["gt"].shape == (3, 64, 80)


def test_jpegs_alone_can_be_trained_on(tmp_path):
    for seed in range(3):
        save(tmp_path / "hr" / f"{seed}.jpg", random_picture(50, 61, seed))
    dataset = CompSRTPairedDataset(training(dataroot_gt=str(tmp_path / "hr")))
    assert {(tuple(dataset[i]["lq"].shape), tuple(dataset[i]["gt"].shape)) for i in range(3)} == {
        ((3, 8, 8), (3, 32, 32))
    }


def test_the_embedded_demo_needs_no_folder():
    dataset = CompSRTPairedDataset(options(name="Demo", embedded="demo", scale=3))
    assert names(dataset) == ["astronautx3.png", "chelseax3.png", "coffeex3.png", "rocketx3.png"]


def test_given_folders_go_before_embedded_pictures(make_set):
    hr, lr = make_set()
    given = options(dataroot_gt=str(hr), dataroot_lq=str(lr), filename_tmpl="{}x4", embedded="demo")
    assert len(CompSRTPairedDataset(given)) == 3


def test_a_name_is_looked_up_under_the_variable(make_set, tmp_path, monkeypatch):
    make_set("Zoo")
    monkeypatch.setenv("COMPSRT_DATA", str(tmp_path))
    dataset = CompSRTPairedDataset(options(filename_tmpl="{}x4"))
    assert names(dataset) == names(CompSRTPairedDataset(options())) == ["p0x4.png", "p1x4.png", "p2x4.png"]
    assert dataset.opt["dataroot_gt"] == str(tmp_path / "Zoo" / "HR")


def test_a_scale_that_is_not_there_is_made_from_hr(make_set, tmp_path, monkeypatch):
    make_set("Zoo", scale=4)
    monkeypatch.setenv("COMPSRT_DATA", str(tmp_path))
    assert names(CompSRTPairedDataset(options(scale=2)))[0] == "p0x2.png"


def test_the_shared_benchmark_is_found_by_name(shared, monkeypatch):
    monkeypatch.setenv("COMPSRT_DATA", str(shared / "data" / "benchmark"))
    dataset = CompSRTPairedDataset(options(name="Set5", scale=3))
    assert [len(dataset), names(dataset)[0]] == [5, "babyx3.png"]


@pytest.mark.parametrize("phase", ["test", "val"])
@pytest.mark.parametrize("variable", [None, "/nowhere"])
def test_a_missing_test_set_is_empty_and_costs_one_line_saying_where_it_belongs(
    phase, variable, monkeypatch, basicsr_log
):
    if variable:
        monkeypatch.setenv("COMPSRT_DATA", variable)
    dataset = CompSRTPairedDataset(options(name="Set5", phase=phase))
    assert len(dataset) == 0
    assert list(build_dataloader(dataset, dataset.opt)) == []
    (warning,) = basicsr_log.messages
    root = variable or "$COMPSRT_DATA"
    assert f"data set Set5 is missing: its images belong in {root}/Set5/HR and {root}/Set5/LR_bicubic/X4" in warning
    assert "(NAME.png and NAMEx4.png)" in warning
    assert f"COMPSRT_DATA is {variable or 'not set'}" in warning
    assert "\n" not in warning


def test_given_folders_that_do_not_exist_are_missing_too(make_set, basicsr_log):
    hr, _ = make_set()
    assert len(CompSRTPairedDataset(options(dataroot_gt=str(hr), dataroot_lq="/nowhere"))) == 0
    assert len(CompSRTPairedDataset(options(dataroot_gt="/nowhere"))) == 0
    assert [("dataroot_lq" in m, "/nowhere is not a folder" in m) for m in basicsr_log.messages] == [
        (True, True),
        (False, True),
    ]


def test_strict_data_makes_a_missing_test_set_an_error():
    with pytest.raises(CompSRTError, match="data set Zoo is missing"):
        CompSRTPairedDataset(options(strict_data=True))


def test_a_missing_training_set_is_an_error():
    with pytest.raises(CompSRTError, match="data set Zoo is missing"):
        CompSRTPairedDataset(training())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataroot_lq": "/lr"}, "has a dataroot_lq but no dataroot_gt.* basicsr upscale /lr"),
        ({"scale": None}, "scale of data set Zoo is None"),
        ({"embedded": "dmo"}, "unknown embedded set 'dmo'; allowed: calibration, demo; did you mean 'demo'"),
        ({"embedded": "demo", "subset": "test"}, "unknown subset of data set Zoo: 'test'; allowed: holdout, train"),
        ({"io_backend": {"type": "lmbd"}}, "unknown io_backend.type of data set Zoo: 'lmbd'.*did you mean 'lmdb'"),
        ({"io_backend": {"type": "lmdb"}}, "needs dataroot_gt and dataroot_lq"),
        ({"meta_info_file": "list.txt"}, "needs dataroot_gt and dataroot_lq"),
        ({"phase": "train", "embedded": "demo"}, "gt_size of data set Zoo is None"),
        ({"phase": "train", "embedded": "demo", "gt_size": 9999}, "too small .* training crops .* lower gt_size"),
    ],
)
def test_options_that_make_no_sense_are_one_line(changes, said):
    with pytest.raises(CompSRTError, match=said):
        CompSRTPairedDataset(options(**changes))


def test_a_damaged_picture_stops_a_test_before_it_begins(make_set):
    hr, lr = make_set()
    (lr / "p2x4.png").write_bytes((lr / "p2x4.png").read_bytes()[:-60])
    with pytest.raises(CompSRTError, match=r"p2x4\.png is damaged"):
        CompSRTPairedDataset(options(dataroot_gt=str(hr), dataroot_lq=str(lr), filename_tmpl="{}x4"))


def test_pictures_too_small_for_a_crop_stop_training_before_it_begins(make_set):
    hr, lr = make_set(side=28)
    with pytest.raises(CompSRTError, match=r"p0x4\.png is too small \(7×7 pixels\); allowed: at least 8×8"):
        CompSRTPairedDataset(training(dataroot_gt=str(hr), dataroot_lq=str(lr), filename_tmpl="{}x4"))


def test_grey_alpha_and_16_bit_pictures_are_read_as_colour(tmp_path):
    picture = random_picture(64, 64)
    save(tmp_path / "a.png", picture[..., 0])
    save(tmp_path / "b.png", np.dstack([picture, picture[..., 0]]))
    save(tmp_path / "c.png", picture.astype(np.uint16) * 257)
    dataset = CompSRTPairedDataset(options(dataroot_gt=str(tmp_path)))
    assert [tuple(dataset[i]["gt"].shape) for i in range(3)] == [(3, 64, 64)] * 3


def test_lmdbs_pass_through(hr_folder, tmp_path):
    from compsrt_plugin.data.images import images_in
    from compsrt_plugin.data.lmdb_pairs import make_lmdbs
    from compsrt_plugin.data.low_resolution import OutputLayout, make_low_resolution

    layout = OutputLayout(tmp_path / "out", (4,), hr_copy=True)
    make_low_resolution(images_in(hr_folder), layout)
    hr, lr = make_lmdbs(["ant", "bee", "cat"], layout)
    dataset = CompSRTPairedDataset(training(dataroot_gt=str(hr), dataroot_lq=str(lr), io_backend={"type": "lmdb"}))
    assert len(dataset) == 3
    assert dataset[2]["gt"].shape == (3, 32, 32)
    (lr / "meta_info.txt").write_text("other.png (1,1,3) 1\n")
    with pytest.raises(CompSRTError, match=r"data set Zoo: dataroot_lq .* has no 'other', which its meta"):
        CompSRTPairedDataset(options(dataroot_gt=str(hr), dataroot_lq=str(lr), io_backend={"type": "lmdb"}))


def test_a_meta_info_file_chooses_pictures_and_they_are_checked(make_set, tmp_path):
    hr, lr = make_set()
    given = {"dataroot_gt": str(hr), "dataroot_lq": str(lr), "filename_tmpl": "{}x4"}
    listed = tmp_path / "list.txt"
    listed.write_text("p2.png (64,96,3)\np0.png (64,64,3)\n")
    dataset = CompSRTPairedDataset(options(**given, meta_info_file=str(listed)))
    assert names(dataset) == ["p0x4.png", "p2x4.png"]
    listed.write_text("p7.png (64,96,3)\n")
    with pytest.raises(CompSRTError, match=r"cannot read the image .*p7\.png"):
        CompSRTPairedDataset(options(**given, meta_info_file=str(listed)))
    with pytest.raises(CompSRTError, match=r"data set Zoo: .*none\.txt"):
        CompSRTPairedDataset(options(**given, meta_info_file=str(tmp_path / "none.txt")))


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (7, 1), (20, 2)])
def test_a_tenth_is_held_out_and_the_rest_is_trained_on(make_set, count, held_out):
    hr, lr = make_set(count=count, side=32)
    given = {"dataroot_gt": str(hr), "dataroot_lq": str(lr), "filename_tmpl": "{}x4"}
    train = CompSRTPairedDataset(training(**given, subset="train"))
    holdout = CompSRTPairedDataset(options(**given, subset="holdout"))
    assert len(holdout) == held_out
    assert sorted(names(train) + names(holdout)) == sorted(names(CompSRTPairedDataset(options(**given))))


def test_of_the_embedded_pictures_parts_are_held_out():
    sets = {
        subset: CompSRTPairedDataset(training(embedded="calibration", subset=subset)) for subset in ("train", "holdout")
    }
    assert {subset: len(dataset) for subset, dataset in sets.items()} == {"train": 7, "holdout": 4}
    assert "motorcycle_leftx4.png" in names(sets["train"]) and "motorcycle_leftx4.png" in names(sets["holdout"])


def test_one_picture_leaves_nothing_to_train_on(make_set):
    hr, lr = make_set(count=1)
    given = {"dataroot_gt": str(hr), "dataroot_lq": str(lr), "filename_tmpl": "{}x4"}
    with pytest.raises(CompSRTError, match="subset train of data set Zoo is empty"):
        CompSRTPairedDataset(training(**given, subset="train"))


def test_basicsr_builds_it_by_name(make_set, tmp_path):
    from basicsr.utils.registry import DATASET_REGISTRY

    if "CompSRTPairedDataset" not in DATASET_REGISTRY:
        compsrt_plugin.register()
    hr, lr = make_set()
    dataset = build_dataset(
        options(type="CompSRTPairedDataset", dataroot_gt=str(hr), dataroot_lq=str(lr), filename_tmpl="{}x4")
    )
    (first, *others) = build_dataloader(dataset, dataset.opt)
    assert len(others) == 2
    expected = read_image(lr / "p0x4.png")[..., ::-1].transpose(2, 0, 1)
    assert np.array_equal((first["lq"][0].numpy() * 255).round().astype(np.uint8), expected)


def test_a_picture_damaged_behind_its_header_is_named_when_training_reads_it(make_set):
    hr, lr = make_set()
    damaged = lr / "p1x4.png"
    damaged.write_bytes(damaged.read_bytes()[:120])
    dataset = CompSRTPairedDataset(training(dataroot_gt=str(hr), dataroot_lq=str(lr), filename_tmpl="{}x4"))
    assert dataset[0]["lq"].shape == (3, 8, 8)
    with pytest.raises(CompSRTError, match=r"p1x4\.png is damaged"):
        dataset[1]


def test_a_picture_too_small_in_an_hr_folder_names_the_folder(make_set, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path / "cache"))
    hr, _ = make_set(side=12)
    with pytest.raises(CompSRTError, match=rf"too small .* made from {hr}: change that folder"):
        CompSRTPairedDataset(options(dataroot_gt=str(hr)))


def test_of_a_picture_that_is_judged_the_middle_can_be_enough(make_set):
    hr, lr = make_set(count=2)  # 16 x 16 and 20 x 16 low-resolution pixels
    given = {"dataroot_gt": str(hr), "dataroot_lq": str(lr), "filename_tmpl": "{}x4"}
    whole, middle = (CompSRTPairedDataset(options(**given, centre_patch=side)) for side in (None, 8))
    for index, left in ((0, 4), (1, 6)):
        cut = middle[index]
        assert torch.equal(cut["lq"], whole[index]["lq"][:, 4:12, left : left + 8])
        assert torch.equal(cut["gt"], whole[index]["gt"][:, 16:48, 4 * left : 4 * left + 32])
    assert CompSRTPairedDataset(options(**given, centre_patch=18))[1]["gt"].shape == (3, 64, 72)


@pytest.mark.parametrize("side", [4, 0, "middle", 96.0])
def test_a_middle_that_is_no_size_is_refused(make_set, side):
    hr, lr = make_set()
    given = {"dataroot_gt": str(hr), "dataroot_lq": str(lr), "filename_tmpl": "{}x4"}
    with pytest.raises(CompSRTError, match=r"centre_patch of data set Zoo is .*allowed: low-resolution pixels, from 5"):
        CompSRTPairedDataset(options(**given, centre_patch=side))


def test_pictures_kept_in_memory_give_the_same_patches(make_set):
    hr, lr = make_set()
    given = {"dataroot_gt": str(hr), "dataroot_lq": str(lr), "filename_tmpl": "{}x4"}
    drawn = [DrawnImages(CompSRTPairedDataset(training(**given, keep_in_memory=kept))) for kept in (False, True)]
    for draw in [(number % 3, f"draw {number}") for number in range(12)]:
        read, kept = (dataset[draw] for dataset in drawn)
        assert torch.equal(read["lq"], kept["lq"]) and torch.equal(read["gt"], kept["gt"])
        assert (read["lq_path"], read["gt_path"]) == (kept["lq_path"], kept["gt_path"])


def test_what_cannot_be_kept_in_memory_is_refused(make_set):
    hr, lr = make_set()
    given = {"dataroot_gt": str(hr), "dataroot_lq": str(lr), "filename_tmpl": "{}x4"}
    with pytest.raises(CompSRTError, match=r"data set Zoo has keep_in_memory; allowed: .* in colour"):
        CompSRTPairedDataset(training(**given, keep_in_memory=True, color="y"))


def test_smaller_versions_of_the_pictures_are_trained_on_too(make_set):
    hr, lr = make_set(count=2)
    given = {"dataroot_gt": str(hr), "dataroot_lq": str(lr), "filename_tmpl": "{}x4"}
    dataset = CompSRTPairedDataset(training(**given, keep_in_memory=True, shrunk=[0.75, 0.5]))
    assert len(dataset) == 6
    whole, smaller = dataset.kept[0], dataset.kept[2]
    assert np.array_equal(smaller.hr, imresize(whole.hr, 0.75))
    assert np.array_equal(smaller.lr, imresize(smaller.hr, 1 / 4))
    patch = DrawnImages(dataset)[5, "draw 0"]
    assert (patch["lq"].shape, patch["gt"].shape) == ((3, 8, 8), (3, 32, 32))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shrunk": [0.5]}, r"shrunk of data set Zoo is \[0.5\]; allowed: together with keep_in_memory: true"),
        ({"shrunk": 0.5, "keep_in_memory": True}, r"shrunk of data set Zoo is 0.5; allowed: a list of numbers"),
        (
            {"shrunk": [1.5], "keep_in_memory": True},
            r"shrunk of data set Zoo is 1.5; allowed: numbers above 0 to below 1",
        ),
        (
            {"shrunk": [0.1], "keep_in_memory": True},
            r"shrunk of data set Zoo has 0.1, at which no image is large enough",
        ),
    ],
)
def test_smaller_versions_that_cannot_be_had_are_refused(make_set, changes, said):
    hr, lr = make_set()
    given = {"dataroot_gt": str(hr), "dataroot_lq": str(lr), "filename_tmpl": "{}x4"}
    with pytest.raises(CompSRTError, match=said):
        CompSRTPairedDataset(training(**given, **changes))


def test_a_picture_that_is_listed_twice_is_kept_twice(make_set, tmp_path):
    hr, lr = make_set(count=2)
    (tmp_path / "list.txt").write_text("p0.png\np1.png\np0.png\n")
    given = {"dataroot_gt": str(hr), "dataroot_lq": str(lr), "filename_tmpl": "{}x4"}
    listed = {"meta_info_file": str(tmp_path / "list.txt"), "keep_in_memory": True, "shrunk": [0.75]}
    dataset = CompSRTPairedDataset(training(**given, **listed))
    assert [len(dataset.paths), len(dataset.kept)] == [6, 6]
    assert dataset.kept[0] is dataset.kept[1] and dataset.kept[3] is dataset.kept[4]
