from __future__ import annotations

import shutil

import numpy as np
import pytest
from sample_pictures import random_picture, save

from compsrt_plugin.data import checks
from compsrt_plugin.data.checks import check_pairs, smallest_lr
from compsrt_plugin.data.images import read_image
from compsrt_plugin.errors import CompSRTError


def check(folders, scale=4, tmpl="{}x4", **options):
    check_pairs(*folders, scale, tmpl, **{"decode": True, "min_lr": smallest_lr(scale), **options})


def complaint(folders, **options) -> str:
    with pytest.raises(CompSRTError) as error:
        check(folders, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("decode", [True, False])
def test_matching_pairs_pass(make_set, decode):
    check(make_set(), decode=decode)


@pytest.mark.parametrize("cut", [1, 3, 11])
def test_hr_pictures_that_were_not_cropped_pass_for_tests(make_set, cut):
    hr, lr = make_set()
    save(hr / "p0.png", random_picture(64 + cut, 64))
    check((hr, lr))


def test_for_training_the_sides_must_match_exactly(make_set):
    hr, lr = make_set()
    save(hr / "p0.png", random_picture(65, 64))
    said = complaint((hr, lr), exact=True, decode=False)
    assert "p0.png (64×65 pixels)" in said
    assert "allowed: HR of exactly 64×64 pixels for training; basicsr prepare" in said
    assert "--hr-copy" in said


@pytest.mark.parametrize(("height", "width"), [(63, 64), (64, 60), (76, 64), (128, 128)])
def test_hr_smaller_than_scale_times_lr_or_much_larger_is_an_error(make_set, height, width):
    hr, lr = make_set()
    save(hr / "p0.png", random_picture(height, width))
    said = complaint((hr, lr))
    assert f"p0.png ({width}×{height} pixels) and {lr / 'p0x4.png'} (16×16 pixels) do not match at x4" in said
    assert f"allowed: LR of {width // 4}×{height // 4} pixels" in said


def test_an_hr_picture_without_a_partner_is_named_with_the_nearest(make_set):
    hr, lr = make_set()
    (lr / "p1x4.png").rename(lr / "p1_x4.png")
    said = complaint((hr, lr))
    assert f"{hr / 'p1.png'} has no LR partner: no p1x4.png in {lr}" in said
    assert "the nearest is p1_x4.png" in said


def test_an_lr_picture_without_a_partner_is_named(make_set):
    hr, lr = make_set()
    shutil.copy(lr / "p1x4.png", lr / "p9x4.png")
    assert f"{lr / 'p9x4.png'} has no HR partner in {hr}" in complaint((hr, lr))


def test_another_ending_is_no_partner_as_basicsr_has_it(make_set):
    hr, lr = make_set()
    save(hr / "p1.bmp", random_picture(64, 80))
    (hr / "p1.png").unlink()
    assert "no p1x4.bmp in" in complaint((hr, lr))


@pytest.mark.parametrize("tmpl", ["x4", "{", "{}{}", "{name}", "{0.nothing}"])
def test_a_template_that_cannot_be_filled_is_an_error(make_set, tmpl):
    assert f"filename_tmpl is {tmpl!r}; allowed: a text with one {{}}" in complaint(make_set(), tmpl=tmpl)


def test_a_stray_file_is_named_as_such(make_set):
    hr, lr = make_set()
    (hr / "Thumbs.db").write_bytes(b"whatever")
    assert "Thumbs.db is not an image" in complaint((hr, lr))


def test_hidden_files_and_folders_do_not_matter(make_set):
    hr, lr = make_set()
    (hr / ".DS_Store").touch()
    (lr / "old").mkdir()
    check((hr, lr))


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty (0 bytes)"), (b"<html>", "is not an image")], ids=["empty", "html"]
)
def test_empty_files_and_other_files_are_named(make_set, decode, content, said):
    hr, lr = make_set()
    (lr / "p1x4.png").write_bytes(content)
    assert f"{lr / 'p1x4.png'} {said}" in complaint((hr, lr), decode=decode)


def test_a_picture_cut_short_is_found_when_decoding(make_set):
    hr, lr = make_set()
    content = (hr / "p1.png").read_bytes()
    (hr / "p1.png").write_bytes(content[:-200])
    assert f"the image {hr / 'p1.png'} is damaged" in complaint((hr, lr))


def test_pictures_too_small_for_the_metrics_are_named(make_set):
    hr, lr = make_set(count=1, side=4)
    said = complaint((hr, lr))
    assert f"the LR image {lr / 'p0x4.png'} is too small (1×1 pixels); allowed: at least 5×5" in said


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_smallest_allowed_picture_can_be_judged_and_a_smaller_one_cannot(scale):
    from basicsr.metrics import calculate_ssim

    def ssim(lr_side):
        picture = np.zeros((lr_side * scale, lr_side * scale, 3), np.uint8)
        return calculate_ssim(picture, picture, crop_border=scale)

    assert ssim(smallest_lr(scale)) == 1
    with pytest.warns(RuntimeWarning):
        assert np.isnan(ssim(smallest_lr(scale) - 1))


def test_grey_and_colour_may_be_mixed(make_set):
    hr, lr = make_set()
    save(hr / "p1.png", random_picture(64, 80)[..., 0])
    check((hr, lr))


def test_missing_and_empty_folders_are_named(make_set, tmp_path):
    hr, _ = make_set()
    (tmp_path / "empty").mkdir()
    assert "cannot read the image folder" in complaint((hr, tmp_path / "none"))
    assert f"no images in {tmp_path / 'empty'}" in complaint((hr, tmp_path / "empty"))


def test_a_picture_is_read_once_however_many_data_sets_are_made_of_it(make_set, monkeypatch):
    read = []
    monkeypatch.setattr(checks, "read_image", lambda path: [read.append(path), read_image(path)][1])
    hr, lr = make_set()
    for _ in range(3):
        check((hr, lr))
    assert len(read) == 6
    save(hr / "p0.png", random_picture(64, 64, 5))
    check((hr, lr))
    assert len(read) == 7, "what was written anew is read anew"
    (hr / "p0.png").write_bytes(b"x")
    assert "is not an image" in complaint((hr, lr))
