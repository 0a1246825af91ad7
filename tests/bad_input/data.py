"""Images and data sets that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from places import Place

from .cases import bad


@bad(r"data set Mine: dataroot_gt nowhere is not a folder; check the path")
def strict_data_missing(at: Place) -> object:
    at.data["dataroot_gt"] = "nowhere"
    return ["--strict-data"]


@bad(r"none of the data sets was found, nothing was tested")
def no_data_at_all(at: Place) -> None:
    at.data["dataroot_gt"] = "nowhere"


@bad(r"dataroot_gt nowhere is not a folder", "train")
def training_data_missing(at: Place) -> None:
    at.train["datasets"]["train"]["dataroot_gt"] = "nowhere"


@bad(r"datasets\.test_1\.dataroot_gt nowhere is not a folder; check the path")
def data_of_basicsrs_own_set_missing(at: Place) -> None:
    at.data.update(type="PairedImageDataset", dataroot_gt="nowhere")


@bad(r"the image LR/px4\.png is empty \(0 bytes\); copy it again from its source")
def empty_picture(at: Place) -> None:
    at.lr.write_bytes(b"")


@bad(r"the image LR/px4\.png is damaged \(.*\); copy it again from its source")
def truncated_picture(at: Place) -> None:
    at.lr.write_bytes(at.lr.read_bytes()[:100])


@bad(r"the image HR/p\.png is damaged \(.*checksum.*\); copy it again")
def flipped_bit_in_a_picture(at: Place) -> None:
    content = bytearray(at.hr.read_bytes())
    content[len(content) // 2] ^= 1
    at.hr.write_bytes(content)


@bad(r"LR/px4\.png is not an image; allowed: .*PNG")
def page_instead_of_a_picture(at: Place) -> None:
    at.lr.write_text("<html>404</html>")


@bad(r"HR/Thumbs\.db is not an image")
def stray_file(at: Place) -> None:
    Path("HR/Thumbs.db").write_bytes(b"\0\1")


@bad(r"no images in LR; check the path")
def picture_that_is_a_broken_link(at: Place) -> None:
    at.lr.unlink()
    at.lr.symlink_to("nowhere.png")


@bad(r"LR/px4\.png is too small \(1×1 pixels\); allowed: at least 5×5, for SSIM at x4; move it and HR/p\.png elsewhere")
def picture_of_one_pixel(at: Place) -> None:
    at.save(at.hr, np.zeros((4, 4, 3), np.uint8))
    at.save(at.lr, np.zeros((1, 1, 3), np.uint8))


@bad(r"HR/p\.png is too small \(1×1 pixels\); allowed: at least 4×4")
def hr_picture_of_one_pixel(at: Place) -> None:
    at.save(at.hr, np.zeros((1, 1, 3), np.uint8))
    at.data["dataroot_lq"] = None


@bad(r"HR/p\.png \(48×40 pixels\) and LR/px4\.png \(20×20 pixels\) do not match at x4; allowed: LR of 12×10 pixels")
def sizes_that_do_not_match(at: Place) -> None:
    at.save(at.lr, np.zeros((20, 20, 3), np.uint8))


@bad(r"HR/p\.png has no LR partner: no px4\.png in LR; .*the nearest is px3\.png")
def names_that_do_not_match(at: Place) -> None:
    at.lr.rename("LR/px3.png")


@bad(r"LR/qx4\.png has no HR partner in HR; .*add its HR, or move it to another folder")
def picture_left_over(at: Place) -> None:
    at.save(Path("LR/qx4.png"), np.zeros((10, 12, 3), np.uint8))


@bad(r"data set Mine has a dataroot_lq but no dataroot_gt")
def lr_without_hr(at: Place) -> None:
    at.data["dataroot_gt"] = None


@bad(r"the LR image LR/px4\.png is too small \(12×10 pixels\); .*training crops.* lower gt_size", "train")
def crops_larger_than_the_pictures(at: Place) -> None:
    at.train["datasets"]["train"]["gt_size"] = 128


@bad(r"the image LR/px4\.png is damaged", "train")
def damaged_training_picture(at: Place) -> None:
    at.lr.write_bytes(at.lr.read_bytes()[:100])


@bad(r"name in datasets\.test_1\.type: 'CompSRTPairDataset'.*did you mean 'CompSRTPairedDataset'")
def data_set_type_misspelt(at: Place) -> None:
    at.data["type"] = "CompSRTPairDataset"


@bad(r"datasets\.test_1\.io_backend is 'disk'; allowed: a block of keys")
def io_backend_without_a_block(at: Place) -> None:
    at.data["io_backend"] = "disk"
