from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2
import numpy as np
import pytest
from sample_pictures import random_picture, save

from compsrt_plugin.data.images import images_in
from compsrt_plugin.data.low_resolution import OutputLayout, PrepareSummary, make_low_resolution
from compsrt_plugin.data.resize import downscale, mod_crop
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import UnwritableError


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))


def test_lr_pictures_have_the_benchmarks_layout_names_and_pixels(hr_folder, tmp_path):
    out = tmp_path / "out"
    summary = make_low_resolution(images_in(hr_folder), OutputLayout(out, (2, 3)))
    assert summary == PrepareSummary(made=6)
    assert files(out) == [f"LR_bicubic/X{s}/{n}x{s}.png" for s in (2, 3) for n in ("ant", "bee", "cat")]
    lr = cv2.imread(str(out / "LR_bicubic" / "X3" / "beex3.png"))
    assert np.array_equal(lr, downscale(cv2.imread(str(hr_folder / "bee.png")), 3))


def test_hr_copies_are_exactly_scale_times_every_lr_picture(hr_folder, tmp_path):
    layout = OutputLayout(tmp_path / "out", (2, 3, 4), hr_copy=True)
    make_low_resolution(images_in(hr_folder), layout)
    for name in ("ant", "bee", "cat"):
        copy = cv2.imread(str(layout.hr_dir / f"{name}.png"))
        assert np.array_equal(copy, mod_crop(cv2.imread(str(hr_folder / f"{name}.png")), 12))
        for scale in (2, 3, 4):
            lr = cv2.imread(str(layout.lr_dir(scale) / f"{name}x{scale}.png"))
            assert np.array_equal(lr, downscale(copy, scale))
            assert copy.shape[:2] == tuple(scale * side for side in lr.shape[:2])


def test_jpeg_grey_alpha_and_16_bit_sources_give_8_bit_colour_pngs(tmp_path):
    picture = random_picture(32, 32)
    save(tmp_path / "hr" / "jpeg.jpg", picture)
    save(tmp_path / "hr" / "grey.png", picture[..., 0])
    save(tmp_path / "hr" / "alpha.png", np.dstack([picture, picture[..., 0]]))
    save(tmp_path / "hr" / "deep.png", picture.astype(np.uint16) * 257)
    make_low_resolution(images_in(tmp_path / "hr"), OutputLayout(tmp_path, (4,)))
    made = [
        cv2.imread(str(tmp_path / "LR_bicubic" / "X4" / f"{n}x4.png"), cv2.IMREAD_UNCHANGED)
        for n in ("jpeg", "grey", "alpha", "deep")
    ]
    assert [(p.shape, p.dtype) for p in made] == [((8, 8, 3), np.uint8)] * 4


def test_a_second_run_makes_nothing(hr_folder, tmp_path):
    layout = OutputLayout(tmp_path / "out", (4,), hr_copy=True)
    make_low_resolution(images_in(hr_folder), layout)
    assert make_low_resolution(images_in(hr_folder), layout) == PrepareSummary(skipped=6)


def test_only_what_changed_is_made_again(hr_folder, tmp_path):
    layout = OutputLayout(tmp_path / "out", (2, 4))
    make_low_resolution(images_in(hr_folder), layout)
    save(hr_folder / "bee.png", random_picture(40, 40))  # another source
    cut = layout.lr_dir(4) / "antx4.png"  # half written
    cut.write_bytes(cut.read_bytes()[:100])
    (layout.lr_dir(2) / "catx2.png").unlink()
    assert make_low_resolution(images_in(hr_folder), layout) == PrepareSummary(made=4, skipped=2)
    assert cv2.imread(str(layout.lr_dir(2) / "beex2.png")).shape == (20, 20, 3)
    assert cv2.imread(str(cut)) is not None


def test_a_source_touched_later_is_another_source(hr_folder, tmp_path):
    layout = OutputLayout(tmp_path / "out", (4,))
    make_low_resolution(images_in(hr_folder), layout)
    os.utime(hr_folder / "ant.png", ns=(1, 1))
    assert make_low_resolution(images_in(hr_folder), layout) == PrepareSummary(made=1, skipped=2)


def test_adding_a_scale_makes_only_that_scale(hr_folder, tmp_path):
    make_low_resolution(images_in(hr_folder), OutputLayout(tmp_path / "out", (4,)))
    assert make_low_resolution(images_in(hr_folder), OutputLayout(tmp_path / "out", (3, 4))) == PrepareSummary(
        made=3, skipped=3
    )


def test_adding_hr_copies_makes_lr_pictures_that_fit_them(hr_folder, tmp_path):
    make_low_resolution(images_in(hr_folder), OutputLayout(tmp_path / "out", (2, 4)))
    summary = make_low_resolution(images_in(hr_folder), OutputLayout(tmp_path / "out", (2, 4), hr_copy=True))
    assert summary == PrepareSummary(made=6, skipped=3)  # X4 was cropped to multiples of 4 before


@pytest.mark.parametrize("threads", [0, 2])
def test_a_bad_picture_is_one_line_and_does_not_end_the_rest(hr_folder, tmp_path, threads):
    (hr_folder / "bad.png").write_bytes(b"no picture")
    save(hr_folder / "tiny.png", random_picture(3, 9))
    executor = ThreadPoolExecutor(threads) if threads else None
    summary = make_low_resolution(images_in(hr_folder), OutputLayout(tmp_path / "out", (4,)), executor=executor)
    assert summary.made == 3
    bad, tiny = sorted(summary.errors)
    assert "bad.png is not an image" in bad
    assert "tiny.png is too small (9×3 pixels); allowed: at least 4×4" in tiny
    assert files(tmp_path / "out") == [f"LR_bicubic/X4/{n}x4.png" for n in ("ant", "bee", "cat")]


def test_an_output_folder_that_cannot_be_written_ends_the_run_at_once(hr_folder, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UnwritableError, match=r"cannot write .*antx4\.png"):
        make_low_resolution(images_in(hr_folder), OutputLayout(tmp_path / "out", (4,)))


def test_a_dead_worker_process_is_told_in_one_line(hr_folder, tmp_path, monkeypatch):
    def die(job):
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    monkeypatch.setattr("compsrt_plugin.data.low_resolution._do", die)
    with pytest.raises(CompSRTError, match=r"a worker process died .*; run again with --workers 1"):
        make_low_resolution(images_in(hr_folder), OutputLayout(tmp_path, (4,)), executor=ThreadPoolExecutor(1))


def test_two_pictures_of_one_name_are_refused(hr_folder, tmp_path):
    save(hr_folder / "ant.jpg", random_picture(8, 8))
    with pytest.raises(CompSRTError, match=r"ant\.jpg and ant\.png would both be written as ant\.png"):
        make_low_resolution(images_in(hr_folder), OutputLayout(tmp_path / "out", (4,)))


def test_large_pictures_can_be_cut_to_their_centre(hr_folder, tmp_path):
    layout = OutputLayout(tmp_path / "out", (4,), hr_copy=True, max_side=70)
    make_low_resolution(images_in(hr_folder), layout)
    copy, source = (cv2.imread(str(folder / "cat.png")) for folder in (layout.hr_dir, hr_folder))  # 64 × 90
    assert np.array_equal(copy, source[:, 10:78])
